#!/usr/bin/env bash
# Updates one stack and sends it a test prediction: up.sh STACK. An unchanged stack builds, trains and rolls nothing.
source "$(dirname "$0")/common.sh"
source ci/steps/login.sh
stack=${1:?up.sh STACK}
login "$stack"
plan=()
if [ -n "${PLAN:-}" ]; then plan=(--plan "$PLAN"); fi
if [ -n "$BUILDER" ] && ! docker buildx inspect "${BUILDER_NAME:=ci}" >/dev/null 2>&1; then
    # shellcheck disable=SC2086 # several options
    docker buildx create --name "$BUILDER_NAME" --driver "$BUILDER" --use ${BUILDER_OPTIONS:-}
fi
pulumi up --yes --non-interactive --stack "$stack" "${plan[@]}" "${policies[@]}"
ci/steps/smoke.sh "$stack"
