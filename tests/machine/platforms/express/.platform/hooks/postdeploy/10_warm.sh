#!/bin/bash
# What is asked here is the release that was deployed, by the port that its property names.
set -eu
curl -fsS "http://127.0.0.1:$PORT/health" >/dev/null
echo postdeploy >> /var/lib/hooks/express
