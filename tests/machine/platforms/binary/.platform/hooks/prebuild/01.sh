#!/bin/sh
echo prebuild >> /var/lib/hooks/binary
