#!/bin/sh
# Installs the application's layers, templates and units where ingot and systemd look for them, copies its root/ to /,
# and runs its install.sh. No unit is enabled: ingot starts them.
#
#   INGOT_BUILD_DIRECTORY   directory that Packer uploaded; the application is in application/
set -eu

cd "${INGOT_BUILD_DIRECTORY:?is not set}/application"

# Copies every file of a directory and of its subdirectories, such as drop-ins of units. The files belong to root, with
# mode 0755 for programs and 0644 for the rest.
copy() {
  [ -d "$1" ] || return 0
  (cd "$1" && find . -type f) | while read -r file; do
    mode=0644
    if [ -x "$1/$file" ]; then mode=0755; fi
    install -D -m "$mode" "$1/$file" "$2/$file"
  done
}

copy boot.d /etc/ingot/boot.d
copy templates /etc/ingot/templates
copy units /etc/systemd/system
copy root /
if [ -e seal.yaml ]; then install -m 0644 seal.yaml /etc/ingot/seal.yaml; fi

if [ -e install.sh ]; then sh ./install.sh; fi
