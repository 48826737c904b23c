# What the steps share. They run in the repository's root and take their settings from ci/settings.sh and the environment.
# shellcheck shell=bash
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source ci/settings.sh

# Everything that the steps write; `cache` has what may be kept from one run to the next, which is no secret.
WORK=${WORK:-$PWD/.ci}
PARTS=$WORK/parts
export PIP_CACHE_DIR=${PIP_CACHE_DIR:-$WORK/cache/pip}
export PULUMI_HOME=${PULUMI_HOME:-$WORK/pulumi}
export PATH=$WORK/cache/bin:$PATH
mkdir -p "$WORK/cache/bin" "$PARTS"
chmod 700 "$WORK"

# A template sets every variable that some team needs: those that are empty here are not set.
for name in AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_REGION AZURE_STORAGE_ACCOUNT AZURE_STORAGE_KEY \
    GOOGLE_CREDENTIALS KUBECONFIG PULUMI_ACCESS_TOKEN PULUMI_BACKEND_URL PULUMI_CONFIG_PASSPHRASE; do
    [ -n "${!name:-}" ] || unset "$name"
done

fail() {
    echo "$(basename "$0"): $*" >&2
    exit 2
}

require() {
    for name in "$@"; do [ -n "${!name:-}" ] || fail "$name is not set"; done
}

# Policies for previews, plans and updates alike: some values are known only in an update.
policies=()
if [ -n "$POLICY_PACK" ]; then
    policies=(--policy-pack "$POLICY_PACK" ${POLICY_CONFIG:+--policy-pack-config "$POLICY_CONFIG"})
fi

# The command that writes the comment: the installed one, or the same from beside these steps.
preview_comment() {
    local tool=(python3 ci/preview_comment.py)
    if command -v modelops-preview-comment >/dev/null; then tool=(modelops-preview-comment); fi
    "${tool[@]}" --scrub-env PULUMI_CONFIG_PASSPHRASE --scrub-env PULUMI_ACCESS_TOKEN "$@"
}

# Identifies what a plan or a comparison was made against: the stack's state, with the time of its last update.
state() {
    pulumi stack export --stack "$1" --non-interactive | sha256sum | cut -d' ' -f1
}

plan_id() { # FOLDER
    cat "$1/plan" "$1/commit" "$1/state" | sha256sum | cut -d' ' -f1
}
