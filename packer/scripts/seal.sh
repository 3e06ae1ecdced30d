#!/bin/sh
# The last step: removes the machine-specific state of the builder, then checks that none of it is left, and no secret.
# Fails the build on each finding that cannot be removed.
#
#   INGOT_BUILD_DIRECTORY      directory that Packer uploaded; it is removed
#   INGOT_BUILD_NAME, INGOT_BUILD_GIT_REVISION, INGOT_BUILD_SOURCE_IMAGE   go into the attestation
set -eu

: "${INGOT_BUILD_DIRECTORY:?is not set}"
if [ -z "${INGOT_BUILD_SOURCE_IMAGE:-}" ] && [ -e "$INGOT_BUILD_DIRECTORY/source-image" ]; then
  INGOT_BUILD_SOURCE_IMAGE=$(cat "$INGOT_BUILD_DIRECTORY/source-image")
  export INGOT_BUILD_SOURCE_IMAGE
fi
cd /
rm -rf "$INGOT_BUILD_DIRECTORY"

# Stops the services that write at shutdown, because they would write to the sealed image. The agent of Session Manager
# keeps running: Packer is connected through it.
if [ -d /run/systemd/system ]; then
  for unit in systemd-random-seed systemd-update-utmp syslog.socket rsyslog cron crond chrony chronyd unattended-upgrades; do
    if systemctl --quiet is-active "$unit"; then systemctl --quiet stop "$unit"; fi
  done
  journalctl --quiet --relinquish-var
fi
rm -f /var/lib/chrony/*.drift /var/lib/chrony/drift
# The stamps of persistent timers, which would otherwise fire at the first boot.
rm -f /var/lib/systemd/timers/*

exec ingot seal --scrub
