#!/bin/sh
# Takes out of the boot what a golden image does not need: units (files/units-to-trim), the menu of GRUB, drivers in the
# initramfs. What a unit of the application needs, its file `keep-units` keeps, one to a line.
#
#   INGOT_BUILD_DIRECTORY   where Packer has put everything
set -eu

files=${INGOT_BUILD_DIRECTORY:?is not set}/files
keep=$INGOT_BUILD_DIRECTORY/application/keep-units

is_kept() {
  [ -e "$keep" ] && grep -qxF "$1" "$keep"
}

# Also for instances of a template, which have no file of their own.
is_here() {
  template=$1
  case $1 in *@*.*) template=${1%%@*}@.${1##*.} ;; esac
  for directory in /etc/systemd/system /usr/lib/systemd/system /lib/systemd/system; do
    if [ -e "$directory/$1" ] || [ -e "$directory/$template" ]; then return 0; fi
  done
  return 1
}

# Adds lines from standard input to a unit, in a file of our own.
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
      echo "trim: $unit is kept: the application needs it"
      continue
    fi
    echo "trim: $action $unit: $reason"
    case $action in
    mask) masked="$masked $unit" ;;
    relax) printf '[Timer]\nPersistent=false\n' | drop_in "$unit" ;;
    bound) printf '[Service]\nExecStart=\nExecStart=%s --any --timeout=10\n' "$(wait_online)" | drop_in "$unit" ;;
    *)
      echo "trim: units-to-trim: there is no action $action" >&2
      return 1
      ;;
    esac
  done <"$files/units-to-trim"
  # All at once and without a reload: the image boots anew. Each name is one word.
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

# Debian and Ubuntu. Amazon Linux boots without a menu, by an initramfs made for EC2.
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
  # Last of them all, for others set the same: Ubuntu's image for clouds comes with 50-cloudimg-settings.cfg.
  install -D -m 0644 "$files/grub.cfg" /etc/default/grub.d/90-golden.cfg
  update-grub
}

# Packages keep their users, caches and databases up to date as they are installed. Without these files, or with older ones
# than /usr, systemd would go through all of them at the first boot. Debian leaves out the program that writes them.
trim_update() {
  touch -r /usr /etc/.updated /var/.updated
}

trim_units
trim_initramfs
trim_grub
trim_update
