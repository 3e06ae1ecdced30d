#!/usr/bin/env bash
set -e
node --version
echo prebuild >> /var/lib/hooks/express
