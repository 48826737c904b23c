#!/usr/bin/env bash
# Turns all previews in $PREVIEWS into one comment and keeps it up to date: comment.sh github|gitlab|text. Fails if a preview failed.
source "$(dirname "$0")/common.sh"
host=${1:?comment.sh github|gitlab|text}
arguments=()
failed=
for stack in $STACKS; do
    path=$PREVIEWS/$stack
    [ -e "$path.log" ] || continue
    if [ -s "$path.json" ]; then
        arguments+=("$stack=$path.json")
        [ ! -s "$path.events" ] || arguments+=(--events "$stack=$path.events")
    else
        arguments+=(--failed "$stack=$path.log")
    fi
    [ ! -e "$path.failed" ] || failed="$failed $stack"
done
if [ "$host" = text ]; then
    preview_comment "${arguments[@]}"
else
    preview_comment --post "$host" --scrub-env PULUMI_CONFIG_PASSPHRASE "${arguments[@]}"
fi
if [ -n "$failed" ]; then
    echo "failed:$failed" >&2
    exit 1
fi
