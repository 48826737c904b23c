#!/usr/bin/env bash
# Brings one stack up: up.sh STACK. An unchanged stack builds, trains and rolls nothing.
source "$(dirname "$0")/common.sh"
require PULUMI_BACKEND_URL
stack=${1:?up.sh STACK}
pulumi up --yes --skip-preview --non-interactive --stack "$stack"
