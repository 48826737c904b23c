# What the steps share. They run from the repository's root; everything they need comes by environment.
# shellcheck shell=bash
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# The stacks of the project, in the order in which a change reaches them.
STACKS=${STACKS:-dev staging prod}
# Where previews and their logs are kept for the comment.
PREVIEWS=${PREVIEWS:-.previews}

require() {
    for name in "$@"; do
        if [ -z "${!name:-}" ]; then
            echo "$0: $name is not set" >&2
            exit 2
        fi
    done
}
