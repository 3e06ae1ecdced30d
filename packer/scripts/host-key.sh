#!/bin/sh
# Sees to it that each instance makes a host key of its own at its first boot, only one of ed25519, with or without
# cloud-init.
#
#   INGOT_BUILD_DIRECTORY   where Packer has put everything
set -eu

files=${INGOT_BUILD_DIRECTORY:?is not set}/files

if ! [ -e /usr/sbin/sshd ]; then
  echo "host-key: there is no sshd in this image"
  exit
fi

install -D -m 0755 "$files/ssh-host-key" /usr/libexec/golden/ssh-host-key
install -D -m 0644 "$files/ssh-host-key.service" /usr/lib/systemd/system/ssh-host-key.service
systemctl --quiet --no-reload enable ssh-host-key.service

# The first of them all: sshd takes the first it reads.
install -D -m 0644 "$files/sshd.conf" /etc/ssh/sshd_config.d/00-golden.conf
if ! grep -qiE '^[[:space:]]*Include[[:space:]]+/etc/ssh/sshd_config\.d/' /etc/ssh/sshd_config; then
  echo "host-key: /etc/ssh/sshd_config includes nothing of /etc/ssh/sshd_config.d" >&2
  echo "  hint: add \`Include /etc/ssh/sshd_config.d/*.conf\` as its first line in install.sh" >&2
  exit 1
fi
# HostKey adds up. What names other kinds would have sshd complain of each at every boot.
sed -i -E 's/^([[:space:]]*HostKey[[:space:]].*)/#\1/I' /etc/ssh/sshd_config
if [ -d /etc/cloud/cloud.cfg.d ]; then
  install -m 0644 "$files/cloud-init.cfg" /etc/cloud/cloud.cfg.d/90-golden.cfg
fi
