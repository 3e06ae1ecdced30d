#!/bin/sh
# What files alone cannot say. Run as root in this directory, when packages, layers, templates, units and files are in
# place.
set -eu

id shop >/dev/null 2>&1 || useradd --system --user-group --home-dir /srv/shop --shell /usr/sbin/nologin shop
install -d -m 0755 /etc/shop
