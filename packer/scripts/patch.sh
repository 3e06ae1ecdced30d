#!/bin/sh
# Upgrades the packages of the image. No service is restarted: the image boots from scratch.
#
#   PATCH   false keeps the versions of the base image
set -eu

# On EC2, cloud-init may still be configuring the package sources.
if [ -e /run/cloud-init/enabled ] && command -v cloud-init >/dev/null; then
  timeout 300 cloud-init status --wait >/dev/null || echo "patch: cloud-init failed; continuing"
fi

if [ "${PATCH:-true}" = false ]; then
  echo "patch: skipped: PATCH is false"
elif command -v apt-get >/dev/null; then
  export DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l
  # A timer of the builder may hold the lock: wait for it. Retry, because a mirror may fail once.
  set -- -q -y -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -o Acquire::Languages=none
  apt-get "$@" update
  apt-get "$@" -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold --with-new-pkgs upgrade
elif command -v dnf >/dev/null; then
  # Without `latest`, Amazon Linux uses the repositories of the release of the base image.
  dnf -q -y upgrade --releasever=latest
else
  echo "patch: neither apt-get nor dnf is installed; set PATCH=false and patch the base image" >&2
  exit 1
fi
