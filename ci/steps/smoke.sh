#!/usr/bin/env bash
# Sends a test prediction to a stack's service: smoke.sh STACK [JSON]. Fails unless the response has outputs.
source "$(dirname "$0")/common.sh"
require PULUMI_BACKEND_URL
stack=${1:?smoke.sh STACK}
body=${2:-}
[ -n "$body" ] || body='{"inputs": [[0.5]]}'
url=$(pulumi stack output predict_url --stack "$stack" --non-interactive)
response=$(curl --fail-with-body --silent --show-error --max-time 10 --retry 5 --retry-all-errors --retry-delay 2 \
    --header 'Content-Type: application/json' --data "$body" "$url")
echo "$url: $response"
python3 -c 'import json, sys; sys.exit(not json.loads(sys.argv[1]).get("outputs"))' "$response"
