#!/bin/sh
# The last step: removes what is of this machine, and proves that nothing of it and no secret is left. What may not be
# removed fails the build, and is named.
#
#   INGOT_BUILD_DIRECTORY      where Packer has put everything; removed
#   INGOT_BUILD_NAME, INGOT_BUILD_GIT_REVISION, INGOT_BUILD_SOURCE_IMAGE   go into the attestation
set -eu

: "${INGOT_BUILD_DIRECTORY:?is not set}"
if [ -z "${INGOT_BUILD_SOURCE_IMAGE:-}" ] && [ -e "$INGOT_BUILD_DIRECTORY/source-image" ]; then
  INGOT_BUILD_SOURCE_IMAGE=$(cat "$INGOT_BUILD_DIRECTORY/source-image")
  export INGOT_BUILD_SOURCE_IMAGE
fi
cd /
rm -rf "$INGOT_BUILD_DIRECTORY"

# What writes while the machine shuts down writes now, or not at all: the sealed image would have it again.
if [ -d /run/systemd/system ]; then
  systemctl --quiet stop systemd-random-seed.service
  for unit in syslog.socket rsyslog.service cron.service crond.service; do
    if systemctl --quiet is-active "$unit"; then systemctl --quiet stop "$unit"; fi
  done
  journalctl --quiet --relinquish-var
fi
# When timers last ran on this machine: those that catch up would do so at the first boot.
rm -f /var/lib/systemd/timers/*

exec ingot seal --scrub
