#!/bin/sh
# Installs the ingot binary, its units and its directories. Fails if the digest of the binary is not the expected one.
#
#   INGOT_BUILD_DIRECTORY   directory that Packer uploaded
#   INGOT_SHA256            digest of the binary, as printed by `sha256sum` on the machine that built it
set -eu

fail() {
  echo "ingot: $1" >&2
  echo "  hint: $2" >&2
  exit 1
}

binary=${INGOT_BUILD_DIRECTORY:?is not set}/ingot

[ -e /usr/lib/systemd/systemd ] || [ -e /lib/systemd/systemd ] ||
  fail "this image has no systemd" "use a base image that boots with systemd"

[ -n "${INGOT_SHA256:-}" ] ||
  fail "no checksum was given for the binary" "set -var ingot_sha256=… to what sha256sum printed where it was built"
found=$(sha256sum "$binary" | cut -d' ' -f1)
[ "$found" = "$INGOT_SHA256" ] ||
  fail "the SHA-256 of the binary is $found, expected $INGOT_SHA256" \
    "correct ingot_binary or ingot_sha256"

# e_machine of the ELF header: two bytes at offset 18. The first one tells the supported architectures apart.
case $(od -An -tx1 -N4 "$binary" | tr -d ' ') in
7f454c46) ;;
*) fail "the binary is not a Linux program" "build it with \`cargo dist\`" ;;
esac
case $(od -An -tu1 -j18 -N1 "$binary" | tr -d ' ') in
62) architecture=x86_64 ;;
183) architecture=aarch64 ;;
*) architecture=unknown ;;
esac
[ "$architecture" = "$(uname -m)" ] ||
  fail "the binary is for $architecture, but this machine is $(uname -m)" "build ingot for $(uname -m)"

install -m 0755 "$binary" /usr/bin/ingot
ingot --version
install -d -m 0755 /etc/ingot /etc/ingot/boot.d /etc/ingot/templates
for unit in "$INGOT_BUILD_DIRECTORY"/systemd/ingot*; do
  install -D -m 0644 "$unit" "/usr/lib/systemd/system/${unit##*/}"
done
# No reload is needed: the image boots from scratch.
systemctl --quiet --no-reload enable ingot.service
