#!/usr/bin/env bash
# Previews every stack, or those named, into $PREVIEWS. A failed preview does not fail the step: the comment reports it.
# POLICY_PACK names a folder with policies to check the stacks against, POLICY_CONFIG a file with their levels and exemptions.
source "$(dirname "$0")/common.sh"
require PULUMI_BACKEND_URL
mkdir -p "$PREVIEWS"
for stack in ${*:-$STACKS}; do
    rm -f "$PREVIEWS/$stack".*
    # This switch enables the event log, the only place with policy violations.
    if PULUMI_DEBUG_COMMANDS=true pulumi preview --json --non-interactive --stack "$stack" \
        --event-log "$PREVIEWS/$stack.events" ${POLICY_PACK:+--policy-pack "$POLICY_PACK"} \
        ${POLICY_CONFIG:+--policy-pack-config "$POLICY_CONFIG"} \
        >"$PREVIEWS/$stack.json" 2>"$PREVIEWS/$stack.log"; then
        echo "$stack: previewed"
    else
        echo "$stack: the preview failed" | tee "$PREVIEWS/$stack.failed"
    fi
done
