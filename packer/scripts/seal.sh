#!/bin/sh
# The last step: removes what is of this machine, and proves that nothing of it and no secret is left. What it cannot
# remove fails the build.
#
#   INGOT_BUILD_DIRECTORY      where Packer has put everything; removed
#   INGOT_BUILD_NAME, INGOT_BUILD_GIT_REVISION, INGOT_BUILD_SOURCE_IMAGE   go into the attestation
set -eu

rm -rf "${INGOT_BUILD_DIRECTORY:?is not set}"
exec ingot seal --scrub
