#!/bin/bash
# One bake, for CodeBuild and GitHub Actions alike: bakes the image, boots it once, publishes it. A failure removes the
# image and publishes nothing. The images of a killed bake are removed by a later one, after a day.
#
#   packer/pipeline/bake.sh
#
# Needs Packer, the Session Manager plugin, the AWS CLI, git, python3 with boto3, and these environment variables:
#
#   BAKE                        always, or if-due: only if the base image or the revision has changed
#   PKR_VAR_…                   variables of Packer; image_name, os, architecture, region and ingot_sha256 are required
#   INGOT_URI                   s3://BUCKET/KEY of the ingot binary
#   TRIAL_INSTANCE_TYPE, TRIAL_SUBNET, TRIAL_SECURITY_GROUP, TRIAL_INSTANCE_PROFILE, TRIAL_TIMEOUT_S
#   TRIAL_USER_DATA             boot document of the trial
#   TRIAL_URL                   URL to request, such as http://{address}/health; empty if the trial cannot be reached
set -euo pipefail
cd "$(dirname "$0")/../.."

: "${BAKE:?is not set: always or if-due}" "${INGOT_URI:?is not set: s3://BUCKET/KEY}"
: "${PKR_VAR_image_name:?is not set}" "${PKR_VAR_os:?is not set}" "${PKR_VAR_architecture:?is not set}"
: "${PKR_VAR_region:?is not set}" "${PKR_VAR_ingot_sha256:?is not set}"
export AWS_REGION=$PKR_VAR_region AWS_DEFAULT_REGION=$PKR_VAR_region
# The permissions of the role depend on this tag.
export PKR_VAR_tags="{\"ingot:pipeline\":\"$PKR_VAR_image_name\"}"
export PKR_VAR_ingot_binary=$PWD/output/ingot PKR_VAR_output_directory=output
mkdir -p output

# Identifies the contents of the image: the last commit that changed them, and the binary. Other commits do not make a
# bake due.
PKR_VAR_git_revision=$(git log -1 --format=%H -- packer systemd "${PKR_VAR_application:-packer/application}")
export PKR_VAR_git_revision
revision=$PKR_VAR_git_revision/${PKR_VAR_ingot_sha256:0:12}

packer/pipeline/due.py --image-name "$PKR_VAR_image_name" --os "$PKR_VAR_os" --architecture "$PKR_VAR_architecture" \
  --revision "$revision" >output/due.json
cat output/due.json
base_image=$(python3 -c 'import json; print(json.load(open("output/due.json"))["base_image"])')
due=$(python3 -c 'import json; print(json.load(open("output/due.json"))["due"])')
if [ "$BAKE" = if-due ] && [ "$due" = False ]; then
  echo "nothing to bake"
  exit 0
fi

# Removes the leftovers of killed bakes, in every region.
regions=$(python3 -c 'import json, os; print(*json.loads(os.environ.get("PKR_VAR_copy_to_regions") or "[]"), sep="\n")')
mapfile -t regions <<<"$PKR_VAR_region${regions:+$'\n'$regions}"
packer/pipeline/collect.py --image-name "$PKR_VAR_image_name" --regions "${regions[@]}"

aws s3 cp --only-show-errors "$INGOT_URI" "$PKR_VAR_ingot_binary"
echo "$PKR_VAR_ingot_sha256  $PKR_VAR_ingot_binary" | sha256sum --check

packer init packer
packer build -color=false -timestamp-ui -only=amazon-ebs.golden packer

seen_by=(--status)
if [ -n "${TRIAL_URL:-}" ]; then seen_by+=(--url "$TRIAL_URL"); fi
packer/pipeline/try_image.py --manifest output/packer-manifest.json --image-name "$PKR_VAR_image_name" \
  --architecture "$PKR_VAR_architecture" --instance-type "$TRIAL_INSTANCE_TYPE" --subnet "$TRIAL_SUBNET" \
  --security-group "$TRIAL_SECURITY_GROUP" --instance-profile "$TRIAL_INSTANCE_PROFILE" \
  --user-data "$TRIAL_USER_DATA" --timeout-s "${TRIAL_TIMEOUT_S:-900}" "${seen_by[@]}"

packer/pipeline/publish.py --manifest output/packer-manifest.json --image-name "$PKR_VAR_image_name" \
  --architecture "$PKR_VAR_architecture" --base-image "$base_image" --revision "$revision"
