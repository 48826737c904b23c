#!/usr/bin/env bash
# Compares every stack with its cluster and keeps one report of the differences: drift.sh github|gitlab|text. Changes nothing.
source "$(dirname "$0")/common.sh"
require PULUMI_BACKEND_URL
host=${1:?drift.sh github|gitlab|text}
mkdir -p "$PREVIEWS"
arguments=()
for stack in $STACKS; do
    path=$PREVIEWS/$stack.drift
    pulumi refresh --preview-only --json --non-interactive --stack "$stack" >"$path.json" 2>"$path.log" || true
    if [ -s "$path.json" ]; then arguments+=("$stack=$path.json"); else arguments+=(--failed "$stack=$path.log"); fi
done
if [ "$host" = text ]; then
    preview_comment --drift "${arguments[@]}"
else
    preview_comment --drift --post "$host" --scrub-env PULUMI_CONFIG_PASSPHRASE "${arguments[@]}"
fi
