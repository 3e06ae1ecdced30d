#!/bin/sh
# Brings the packages of the image up to date. Nothing is restarted: the image boots anew anyway.
#
#   PATCH   false leaves them as the base image has them
set -eu

# On EC2 cloud-init may still be setting up where packages come from.
if [ -e /run/cloud-init/enabled ] && command -v cloud-init >/dev/null; then
  timeout 300 cloud-init status --wait >/dev/null || echo "patch: cloud-init has not ended well; going on"
fi

if [ "${PATCH:-true}" = false ]; then
  echo "patch: left as the base image has them"
elif command -v apt-get >/dev/null; then
  export DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l
  # The builder's own timers may be at it: wait for their lock. A mirror may fail once.
  set -- -q -y -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -o Acquire::Languages=none
  apt-get "$@" update
  apt-get "$@" -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold --with-new-pkgs upgrade
elif command -v dnf >/dev/null; then
  # `latest`: Amazon Linux pins its repositories to the release that the base image was made of.
  dnf -q -y upgrade --releasever=latest
else
  echo "patch: neither apt-get nor dnf is here; set PATCH=false and patch in the base image" >&2
  exit 1
fi
