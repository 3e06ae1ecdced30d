#!/bin/bash
set -euo pipefail
if [ "$EB_IS_COMMAND_LEADER" = true ]; then
  # The application's own interpreter, with its dependencies.
  source .venv/bin/activate
  python -c 'import flask; print("migrated")'
  echo predeploy >> /var/lib/hooks/flask
fi
