#!/bin/sh
# Sets up what files alone cannot. Runs as root in this directory, after packages, layers, templates, units and files
# are installed.
set -eu

id shop >/dev/null 2>&1 || useradd --system --user-group --home-dir /srv/shop --shell /usr/sbin/nologin shop
install -d -m 0755 /etc/shop
