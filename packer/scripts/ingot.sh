#!/bin/sh
# Installs ingot: the binary, its units, its directories. Refuses a binary that is not the one that was meant.
#
#   INGOT_BUILD_DIRECTORY   where Packer has put everything
#   INGOT_SHA256            what `sha256sum` says of the binary where it was built
set -eu

fail() {
  echo "ingot: $1" >&2
  echo "  hint: $2" >&2
  exit 1
}

binary=${INGOT_BUILD_DIRECTORY:?is not set}/ingot

[ -e /usr/lib/systemd/systemd ] || [ -e /lib/systemd/systemd ] ||
  fail "this image has no systemd" "bake from an image that boots with systemd"

[ -n "${INGOT_SHA256:-}" ] ||
  fail "no checksum was given for the binary" "give -var ingot_sha256=… as sha256sum prints it where the binary was built"
found=$(sha256sum "$binary" | cut -d' ' -f1)
[ "$found" = "$INGOT_SHA256" ] ||
  fail "the binary is not the one that was meant: its SHA-256 is $found, not $INGOT_SHA256" \
    "correct ingot_binary or ingot_sha256"

# e_machine of the ELF header: two bytes at 18, of which those that exist here differ in the first.
case $(od -An -tx1 -N4 "$binary" | tr -d ' ') in
7f454c46) ;;
*) fail "the binary is no program for Linux" "build it with \`cargo dist\`" ;;
esac
case $(od -An -tu1 -j18 -N1 "$binary" | tr -d ' ') in
62) architecture=x86_64 ;;
183) architecture=aarch64 ;;
*) architecture=unknown ;;
esac
[ "$architecture" = "$(uname -m)" ] ||
  fail "the binary is for $architecture, and this machine is $(uname -m)" "build ingot for $(uname -m)"

install -m 0755 "$binary" /usr/bin/ingot
ingot --version
install -d -m 0755 /etc/ingot /etc/ingot/boot.d /etc/ingot/templates
for unit in "$INGOT_BUILD_DIRECTORY"/systemd/ingot*; do
  install -D -m 0644 "$unit" "/usr/lib/systemd/system/${unit##*/}"
done
# The image boots anew: nothing has to be read again now.
systemctl --quiet --no-reload enable ingot.service
