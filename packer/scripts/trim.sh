#!/bin/sh
# Removes from the boot what a golden image does not need: units (files/units-to-trim), the GRUB menu, and drivers in
# the initramfs. An application keeps a unit by listing it in its file `keep-units`, one on each line.
#
#   INGOT_BUILD_DIRECTORY   directory that Packer uploaded
set -eu

files=${INGOT_BUILD_DIRECTORY:?is not set}/files
keep=$INGOT_BUILD_DIRECTORY/application/keep-units

is_kept() {
  [ -e "$keep" ] && grep -qxF "$1" "$keep"
}

# Also finds instances of a template, which have no file of their own.
is_here() {
  template=$1
  case $1 in *@*.*) template=${1%%@*}@.${1##*.} ;; esac
  for directory in /etc/systemd/system /usr/lib/systemd/system /lib/systemd/system; do
    if [ -e "$directory/$1" ] || [ -e "$directory/$template" ]; then return 0; fi
  done
  return 1
}

# Writes standard input to a drop-in of a unit.
drop_in() {
  install -d -m 0755 "/etc/systemd/system/$1.d"
  cat >"/etc/systemd/system/$1.d/50-golden.conf"
}

trim_units() {
  masked=
  while read -r action unit reason; do
    case $action in '' | \#*) continue ;; esac
    is_here "$unit" || continue
    if is_kept "$unit"; then
      echo "trim: keep $unit: listed in keep-units"
      continue
    fi
    echo "trim: $action $unit: $reason"
    case $action in
    mask) masked="$masked $unit" ;;
    relax) printf '[Timer]\nPersistent=false\n' | drop_in "$unit" ;;
    bound) printf '[Service]\nExecStart=\nExecStart=%s --any --timeout=10\n' "$(wait_online)" | drop_in "$unit" ;;
    *)
      echo "trim: units-to-trim: unknown action $action" >&2
      return 1
      ;;
    esac
  done <"$files/units-to-trim"
  # Without a reload: the image boots from scratch. Each name is one word.
  # shellcheck disable=SC2086
  if [ -n "$masked" ]; then systemctl --quiet --no-reload mask $masked; fi
}

wait_online() {
  for directory in /usr/lib/systemd /lib/systemd; do
    if [ -x "$directory/systemd-networkd-wait-online" ]; then
      echo "$directory/systemd-networkd-wait-online"
      return
    fi
  done
}

# For Debian and Ubuntu. Amazon Linux has no menu, and an initramfs that is made for EC2.
trim_initramfs() {
  command -v update-initramfs >/dev/null || return 0
  install -D -m 0644 "$files/initramfs.conf" /etc/initramfs-tools/conf.d/golden
  while read -r module; do
    case $module in '' | \#*) continue ;; esac
    grep -qxF "$module" /etc/initramfs-tools/modules 2>/dev/null || echo "$module" >>/etc/initramfs-tools/modules
  done <"$files/initramfs-modules"
  initramfs_sizes
  update-initramfs -u -k all
  initramfs_sizes
}

initramfs_sizes() {
  for initramfs in /boot/initrd.img-*; do
    if [ -e "$initramfs" ]; then echo "trim: $initramfs: $(($(wc -c <"$initramfs") / 1024)) KiB"; fi
  done
}

trim_grub() {
  command -v update-grub >/dev/null || return 0
  # Sorts last, because other files set the same variables: the cloud image of Ubuntu has 50-cloudimg-settings.cfg.
  install -D -m 0644 "$files/grub.cfg" /etc/default/grub.d/90-golden.cfg
  update-grub
}

# Packages update users, caches and databases when they are installed. If these files are missing or older than /usr,
# systemd repeats all of that at the first boot. Debian does not ship the program that writes them.
trim_update() {
  touch -r /usr /etc/.updated /var/.updated
}

trim_units
trim_initramfs
trim_grub
trim_update
