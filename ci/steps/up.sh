#!/usr/bin/env bash
# Brings one stack up: up.sh STACK. An unchanged stack builds, trains and rolls nothing. POLICY_PACK and POLICY_CONFIG as for
# preview.sh: some values are known only now.
source "$(dirname "$0")/common.sh"
require PULUMI_BACKEND_URL
stack=${1:?up.sh STACK}
pulumi up --yes --skip-preview --non-interactive --stack "$stack" ${POLICY_PACK:+--policy-pack "$POLICY_PACK"} \
    ${POLICY_CONFIG:+--policy-pack-config "$POLICY_CONFIG"}
