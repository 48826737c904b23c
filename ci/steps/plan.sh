#!/usr/bin/env bash
# Makes the plan that somebody approves: plan.sh STACK. It prints what would change and writes $WORK/plans/STACK: the plan, encrypted
# with PLAN_KEY (default: the stack's passphrase), because it has the program's values; the state and the commit it was
# made for; and an identifier of all of that, which apply.sh asks for.
source "$(dirname "$0")/common.sh"
source ci/steps/login.sh
stack=${1:?plan.sh STACK}
export PLAN_KEY=${PLAN_KEY:-${PULUMI_CONFIG_PASSPHRASE:-}}
require PLAN_KEY
login "$stack"
folder=$WORK/plans/$stack
mkdir -p "$folder"
git rev-parse HEAD >"$folder/commit"
state "$stack" >"$folder/state"
trap 'rm -f "$WORK/$stack-plan"' EXIT
PLAN=$WORK/$stack-plan ci/steps/preview.sh "$stack"
openssl enc -aes-256-cbc -pbkdf2 -pass env:PLAN_KEY -in "$WORK/$stack-plan" -out "$folder/plan"
plan_id "$folder" >"$folder/id"
echo "plan $(cat "$folder/id")"
if [ -n "${GITHUB_OUTPUT:-}" ]; then
    echo "plan=$(cat "$folder/id")" >>"$GITHUB_OUTPUT"
    preview_comment --format github --title "What would change in $stack" --part "$PARTS/$stack.preview" >>"$GITHUB_STEP_SUMMARY"
fi
