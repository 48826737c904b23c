#!/usr/bin/env bash
# Sends a test prediction to a stack's service: smoke.sh STACK. Fails unless the response has outputs.
source "$(dirname "$0")/common.sh"
source ci/steps/login.sh
stack=${1:?smoke.sh STACK}
if [ -z "$SMOKE_OUTPUT" ]; then exit; fi
login "$stack"
url=$(pulumi stack output "$SMOKE_OUTPUT" --stack "$stack" --non-interactive)
response=$(curl --fail-with-body --silent --show-error --max-time 10 --retry 5 --retry-all-errors --retry-delay 2 \
    --header 'Content-Type: application/json' --data "$SMOKE_BODY" "$url")
echo "$url: $response"
python3 -c 'import json, sys; sys.exit(not json.loads(sys.argv[1]).get("outputs"))' "$response"
