#!/bin/sh
[ -x bin/application ] && echo predeploy >> /var/lib/hooks/binary
