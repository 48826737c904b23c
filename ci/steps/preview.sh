#!/usr/bin/env bash
# Previews one stack and writes its part of the comment: preview.sh STACK. Fails after that if the preview failed.
source "$(dirname "$0")/common.sh"
source ci/steps/login.sh
stack=${1:?preview.sh STACK}
login "$stack"
plan=()
if [ -n "${PLAN:-}" ]; then plan=(--save-plan "$PLAN"); fi
path=$WORK/$stack
rm -f "$path".*
status=0
# This switch enables the event log, the only place with policy violations.
PULUMI_DEBUG_COMMANDS=true pulumi preview --json --non-interactive --stack "$stack" --event-log "$path.events" \
    "${plan[@]}" "${policies[@]}" >"$path.json" 2>"$path.log" || status=1
input=(--failed "$stack=$path.log")
if [ -s "$path.json" ]; then
    input=("$stack=$path.json")
    if [ -s "$path.events" ]; then input+=(--events "$stack=$path.events"); fi
fi
preview_comment --save "$PARTS/$stack.preview" "${input[@]}"
if [ "$status" != 0 ]; then echo "$stack: the preview failed" >&2; fi
exit "$status"
