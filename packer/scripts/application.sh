#!/bin/sh
# Puts the application's layers, templates and units where ingot and systemd find them, what lies in its root/ below /, and
# runs its own install.sh. Nothing of it is enabled: ingot starts it.
#
#   INGOT_BUILD_DIRECTORY   where Packer has put everything; the application is in application/
set -eu

cd "${INGOT_BUILD_DIRECTORY:?is not set}/application"

# Copies every file of a directory, and what lies in directories of it, such as drop-ins of units. Owner and mode of where
# they come from mean nothing here: root's, and 0755 for programs.
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
