#!/bin/sh
# Brings the packages of the image up to date. Nothing is restarted: the image boots anew anyway.
#
#   PATCH   false leaves them as the base image has them
set -eu

if [ "${PATCH:-true}" = false ]; then
  echo "patch: left as the base image has them"
elif command -v apt-get >/dev/null; then
  export DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l
  # The builder's own timers may be at it: wait for their lock.
  apt-get -o DPkg::Lock::Timeout=300 -q update
  apt-get -o DPkg::Lock::Timeout=300 -q -y -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold upgrade --with-new-pkgs
elif command -v dnf >/dev/null; then
  # `latest`: Amazon Linux pins its repositories to the release that the base image was made of.
  dnf -q -y upgrade --releasever=latest
else
  echo "patch: neither apt-get nor dnf is here; set PATCH=false and patch in the base image" >&2
  exit 1
fi
