#!/usr/bin/env bash
# Makes one comment of all previews in $PREVIEWS and keeps it up to date: comment.sh github|gitlab|text. Fails where one failed.
source "$(dirname "$0")/common.sh"
host=${1:?comment.sh github|gitlab|text}
given=()
failed=
for stack in $STACKS; do
    path=$PREVIEWS/$stack
    [ -e "$path.log" ] || continue
    if [ -s "$path.json" ]; then
        given+=("$stack=$path.json")
        [ ! -s "$path.events" ] || given+=(--events "$stack=$path.events")
    else
        given+=(--failed "$stack=$path.log")
    fi
    [ ! -e "$path.failed" ] || failed="$failed $stack"
done
if [ "$host" = text ]; then
    python3 ci/preview_comment.py "${given[@]}"
else
    python3 ci/preview_comment.py --post "$host" --scrub-env PULUMI_CONFIG_PASSPHRASE "${given[@]}"
fi
if [ -n "$failed" ]; then
    echo "failed:$failed" >&2
    exit 1
fi
