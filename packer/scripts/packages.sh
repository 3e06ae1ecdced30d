#!/bin/sh
# Installs the packages that the application's file `packages` lists, one on each line: with the prefix `apt:` or
# `dnf:`, for one family only. Lines that begin with # are comments.
#
#   INGOT_BUILD_DIRECTORY   directory that Packer uploaded
set -eu

list=${INGOT_BUILD_DIRECTORY:?is not set}/application/packages
if command -v apt-get >/dev/null; then
  family=apt
else
  family=dnf
fi

packages=
if [ -e "$list" ]; then
  # The last line may lack a line break.
  while read -r name _ || [ -n "$name" ]; do
    case $name in
    '' | \#*) continue ;;
    apt:* | dnf:*)
      [ "${name%%:*}" = "$family" ] || continue
      name=${name#*:}
      ;;
    esac
    packages="$packages $name"
  done <"$list"
fi
[ -n "$packages" ] || exit 0

echo "packages:$packages"
# Each name is one word.
# shellcheck disable=SC2086
if [ "$family" = apt ]; then
  export DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l
  missing=
  for name in $packages; do
    [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || missing="$missing $name"
  done
  [ -n "$missing" ] || exit 0
  set -- -q -y -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -o Acquire::Languages=none
  [ -n "$(find /var/lib/apt/lists -name '*_Packages*' 2>/dev/null | head -1)" ] || apt-get "$@" update
  apt-get "$@" --no-install-recommends install $missing
else
  dnf -q -y --setopt=install_weak_deps=False install $packages
fi
