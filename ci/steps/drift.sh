#!/usr/bin/env bash
# Compares every stack with its cluster and keeps one report about what differs: drift.sh github|gitlab|text. Changes nothing.
source "$(dirname "$0")/common.sh"
require PULUMI_BACKEND_URL
host=${1:?drift.sh github|gitlab|text}
mkdir -p "$PREVIEWS"
given=()
for stack in $STACKS; do
    path=$PREVIEWS/$stack.drift
    pulumi refresh --preview-only --json --non-interactive --stack "$stack" >"$path.json" 2>"$path.log" || true
    if [ -s "$path.json" ]; then given+=("$stack=$path.json"); else given+=(--failed "$stack=$path.log"); fi
done
if [ "$host" = text ]; then
    python3 ci/preview_comment.py --drift "${given[@]}"
else
    python3 ci/preview_comment.py --drift --post "$host" --scrub-env PULUMI_CONFIG_PASSPHRASE "${given[@]}"
fi
