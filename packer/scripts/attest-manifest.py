#!/usr/bin/env python3
"""Adds the attestation of `ingot seal` to the last build in the manifest of Packer, as `attestation`.

Usage: attest-manifest.py MANIFEST ATTESTATION. Runs where Packer runs, after Packer has written the manifest. The
manifest is replaced atomically.
"""

import json
import os
import sys


def main(manifest: str, attestation: str) -> None:
    with open(attestation, encoding="utf-8") as file:
        sealed = json.load(file)
    with open(manifest, encoding="utf-8") as file:
        builds = json.load(file)
    builds["builds"][-1]["attestation"] = sealed
    staged = manifest + ".new"
    with open(staged, "w", encoding="utf-8") as file:
        json.dump(builds, file, indent=2)
        file.write("\n")
    # Packer makes the manifest readable only for its own user. It contains no secret.
    os.chmod(staged, 0o644)
    os.replace(staged, manifest)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except (OSError, ValueError, LookupError) as error:
        sys.exit(f"cannot add {sys.argv[2]} to {sys.argv[1]}: {error!r}")
