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

# What writes while the machine shuts down does so now, or not at all: the sealed image would have it again. Only the agent
# of Session Manager goes on, through which Packer is here.
if [ -d /run/systemd/system ]; then
  for unit in systemd-random-seed systemd-update-utmp syslog.socket rsyslog cron crond chrony chronyd unattended-upgrades; do
    if systemctl --quiet is-active "$unit"; then systemctl --quiet stop "$unit"; fi
  done
  journalctl --quiet --relinquish-var
fi
rm -f /var/lib/chrony/*.drift /var/lib/chrony/drift
# When timers last ran on this machine: those that catch up would do so at the first boot.
rm -f /var/lib/systemd/timers/*

exec ingot seal --scrub
