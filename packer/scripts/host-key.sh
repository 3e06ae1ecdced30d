#!/bin/sh
# Makes each instance generate its own SSH host key at its first boot, a single Ed25519 key, with or without cloud-init.
#
#   INGOT_BUILD_DIRECTORY   directory that Packer uploaded
set -eu

files=${INGOT_BUILD_DIRECTORY:?is not set}/files

if ! [ -e /usr/sbin/sshd ]; then
  echo "host-key: skipped: this image has no sshd"
  exit
fi

install -D -m 0755 "$files/ssh-host-key" /usr/libexec/golden/ssh-host-key
install -D -m 0644 "$files/ssh-host-key.service" /usr/lib/systemd/system/ssh-host-key.service
systemctl --quiet --no-reload enable ssh-host-key.service

# Sorts first: for most settings, sshd uses the first value that it reads.
install -D -m 0644 "$files/sshd.conf" /etc/ssh/sshd_config.d/00-golden.conf
if ! grep -qiE '^[[:space:]]*Include[[:space:]]+/etc/ssh/sshd_config\.d/' /etc/ssh/sshd_config; then
  echo "host-key: /etc/ssh/sshd_config does not include /etc/ssh/sshd_config.d" >&2
  echo "  hint: add \`Include /etc/ssh/sshd_config.d/*.conf\` as its first line, in install.sh" >&2
  exit 1
fi
# HostKey is cumulative. sshd would log an error at each boot for every key that is configured and missing.
sed -i -E 's/^([[:space:]]*HostKey[[:space:]].*)/#\1/I' /etc/ssh/sshd_config
if [ -d /etc/cloud/cloud.cfg.d ]; then
  install -m 0644 "$files/cloud-init.cfg" /etc/cloud/cloud.cfg.d/90-golden.cfg
fi
