# What the steps share. They run in the repository's root and take their settings from the environment.
# shellcheck shell=bash
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# The stacks of the project, in the order in which a change reaches them.
STACKS=${STACKS:-dev staging prod}
# The folder for previews and their logs, which the comment reads.
PREVIEWS=${PREVIEWS:-.previews}

require() {
    for name in "$@"; do
        if [ -z "${!name:-}" ]; then
            echo "$0: $name is not set" >&2
            exit 2
        fi
    done
}

# The command that writes the comment: the installed one, or the same from beside these steps.
preview_comment() {
    if command -v modelops-preview-comment >/dev/null; then
        modelops-preview-comment "$@"
    else
        python3 ci/preview_comment.py "$@"
    fi
}
