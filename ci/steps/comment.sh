#!/usr/bin/env bash
# Joins the parts of all stacks to one comment or one issue and keeps it up to date: comment.sh preview|drift github|gitlab|text. It
# needs the host's token and no stack's credentials.
source "$(dirname "$0")/common.sh"
kind=${1:?comment.sh preview|drift github|gitlab|text}
host=${2:?comment.sh preview|drift github|gitlab|text}
shopt -s nullglob
parts=("$PARTS"/*."$kind")
busy=("$PARTS"/*.busy)
if [ "${#parts[@]}" = 0 ] || { [ "$kind" = drift ] && [ "${#busy[@]}" != 0 ]; }; then
    echo "nothing is reported: ${#parts[@]} stacks have a part of the $kind, ${#busy[@]} are being updated"
    exit
fi
arguments=()
for part in "${parts[@]}"; do arguments+=(--part "$part"); done
if [ "$kind" = drift ]; then arguments+=(--drift); fi
if [ "$host" != text ]; then arguments+=(--post "$host"); fi
preview_comment "${arguments[@]}"
