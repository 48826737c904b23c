#!/usr/bin/env bash
# Compares one stack with its cluster and writes its part of the report: drift.sh STACK. Changes nothing. What an update does looks
# like drift until it has ended, so a stack isn't compared meanwhile: an update that has begun shows as a pending operation
# in the state, one that has ended as another state.
source "$(dirname "$0")/common.sh"
source ci/steps/login.sh
stack=${1:?drift.sh STACK}
login "$stack"
path=$WORK/$stack.drift
rm -f "$path".* "$PARTS/$stack.drift" "$PARTS/$stack.busy"
# Longer than any update may take: what is pending after that was interrupted.
LIMIT_HOURS=${LIMIT_HOURS:-6}

pending() { # no, yes, or interrupted
    pulumi stack export --stack "$stack" --non-interactive | python3 -c '
import datetime, json, sys
deployment = json.load(sys.stdin)["deployment"]
saved = datetime.datetime.fromisoformat(deployment["manifest"]["time"][:19])
age = datetime.datetime.now(datetime.UTC).replace(tzinfo=None) - saved
late = age > datetime.timedelta(hours=float(sys.argv[1]))
print("no" if not deployment.get("pending_operations") else "interrupted" if late else "yes")' "$LIMIT_HOURS"
}

before=$(state "$stack")
began=$(pending)
pulumi refresh --preview-only --json --non-interactive --stack "$stack" >"$path.json" 2>"$path.log" || true
if [ "$began" = yes ] || [ "$before" != "$(state "$stack")" ]; then
    echo "$stack: not compared, an update is running"
    touch "$PARTS/$stack.busy"
    exit
fi
if [ "$began" = interrupted ]; then
    echo "error: an update was interrupted, so the state may lack what it made; see \`pulumi refresh\`" >"$path.log"
    rm "$path.json"
fi
input=(--failed "$stack=$path.log")
if [ -s "$path.json" ]; then input=("$stack=$path.json"); fi
preview_comment --drift --save "$PARTS/$stack.drift" "${input[@]}"
