#!/bin/bash
# From a build to production: makes a release, and takes it through environments, one after the other. Each is deployed
# and smoke-tested. What fails to deploy goes back by itself; what fails its smoke test is rolled back here. Either ends
# it, and the environments after it are not touched.
#
#   deploy.sh DIR|ARCHIVE ENV…
#
# Wants ingot-fleet, python3, fleet.yaml in the current directory, and in its environment:
#
#   SMOKE          program that tests an environment: gets its name as argument and the release as $RELEASE, and
#                  fails if the environment is bad
#   SMOKE_TIMEOUT  how long that may take, such as 300 (seconds; the default) or 10m
#   RELEASE        name of the release; without it that of git describe
#   TIMEOUT        how long a deployment is followed, such as 30m; 35m without it
#
# Exit codes: 0 all environments run the release, 1 one of them does not, 4 a deployment still goes on; 2, 75 and 78 are
# those of ingot-fleet.
set -euo pipefail

: "${SMOKE:?is not set: the program that tests an environment}"
if [ $# -lt 2 ]; then
  sed -n '6s/^# *//p' "$0" >&2
  exit 2
fi
build=$1
shift
patience=(--timeout "${TIMEOUT:-35m}")

say() { echo "==> $*" >&2; }

end() {
  local code=$1
  shift
  echo "error: $*" >&2
  exit "$code"
}

# One field of the JSON on stdin, such as in_force.number; nothing where there is none.
field() {
  python3 -c 'import functools, json, sys
found = functools.reduce(lambda at, key: (at or {}).get(key), sys.argv[1].split("."), json.load(sys.stdin))
print("" if found is None else found)' "$1"
}

# Rolls an environment back whose smoke test has failed, and ends.
back() {
  local environment=$1 deployed=$2 failed="the smoke test of $1 failed with $RELEASE" number in_force restored
  number=$(field number <<<"$deployed")
  # Nothing was replaced.
  if [ -z "$number" ]; then
    end 1 "$failed, which $environment had run before: nothing was rolled back. \`ingot-fleet rollback $environment\` goes back"
  fi
  in_force=$(ingot-fleet status "$environment" --json | field in_force.number) ||
    end 1 "$failed, and what runs cannot be told: nothing was rolled back"
  if [ "$in_force" != "$number" ]; then
    end 1 "$failed, and deployment $in_force has followed: nothing was rolled back. \`ingot-fleet status $environment\` shows it"
  fi
  say "rolling $environment back"
  restored=$(ingot-fleet rollback "$environment" --yes "${patience[@]}" --json) ||
    end 1 "$failed, and going back ended with exit code $?: look at \`ingot-fleet status $environment\`"
  end 1 "$failed: $environment runs $(field goal.release.name <<<"$restored") again"
}

say "releasing $build"
released=$(ingot-fleet release "$build" ${RELEASE:+--name "$RELEASE"})
export RELEASE=${released%%@*}

for environment; do
  say "deploying $RELEASE to $environment"
  code=0
  deployed=$(ingot-fleet deploy "$environment" --release "$RELEASE" --yes "${patience[@]}" --json) || code=$?
  case $code in
  0) ;;
  4) end 4 "$environment still deploys $RELEASE: run this again to follow it" ;;
  *) end "$code" "$RELEASE was not deployed to $environment" ;;
  esac
  say "testing $environment"
  timeout --kill-after=10 "${SMOKE_TIMEOUT:-300}" "$SMOKE" "$environment" >&2 || back "$environment" "$deployed"
done
say "$RELEASE runs in: $*"
