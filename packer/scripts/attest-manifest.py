#!/usr/bin/env python3
"""Puts the attestation of `ingot seal` into the last build of Packer's manifest, as `attestation`.

attest-manifest.py MANIFEST ATTESTATION. Runs where Packer runs, after the manifest is written. The manifest is replaced
as a whole, or not at all.
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
    # Packer makes it for its user alone. There is no secret in it.
    os.chmod(staged, 0o644)
    os.replace(staged, manifest)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except (OSError, ValueError, LookupError) as error:
        sys.exit(f"cannot put {sys.argv[2]} into {sys.argv[1]}: {error!r}")
