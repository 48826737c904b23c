#!/usr/bin/env bash
# Tests the change with the command $CHECK. It runs the code of whoever made it, so it gets no credentials.
source "$(dirname "$0")/common.sh"
bash -e -c "$CHECK"
