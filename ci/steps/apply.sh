#!/usr/bin/env bash
# Does what was approved: apply.sh STACK ID, with the identifier that plan.sh printed. It changes nothing if plan, commit or state are
# others by now, and the engine refuses every operation that isn't in the plan.
source "$(dirname "$0")/common.sh"
source ci/steps/login.sh
stack=${1:?apply.sh STACK ID}
id=${2:?apply.sh STACK ID}
export PLAN_KEY=${PLAN_KEY:-${PULUMI_CONFIG_PASSPHRASE:-}}
require PLAN_KEY
login "$stack"
folder=$WORK/plans/$stack
again="run the delivery again, for a new plan"
[ "$(plan_id "$folder")" = "$id" ] || fail "$stack: this is not the plan that was approved; $again"
[ "$(cat "$folder/commit")" = "$(git rev-parse HEAD)" ] || fail "$stack: the plan is for another commit; $again"
[ "$(cat "$folder/state")" = "$(state "$stack")" ] || fail "$stack: the stack was updated after the plan was made; $again"
trap 'rm -f "$WORK/$stack-plan"' EXIT
openssl enc -d -aes-256-cbc -pbkdf2 -pass env:PLAN_KEY -in "$folder/plan" -out "$WORK/$stack-plan"
PLAN=$WORK/$stack-plan ci/steps/up.sh "$stack"
