# What is this project's own. The steps and the templates are the same for every project; the environment wins over this file.
# shellcheck shell=bash disable=SC2034

# What a job installs, and how a change is tested before it reaches any stack.
: "${REQUIREMENTS=requirements.txt}"
: "${CHECK=.venv/bin/python -m pytest -q tests}"

# The policies that previews and updates are held to (docs/how-to/policies.md). Empty: none.
: "${POLICY_PACK=policies}"
: "${POLICY_CONFIG=policies/modelops.json}"

# The output with the address that gets a test prediction after an update, and what it is sent. Empty: no test prediction.
: "${SMOKE_OUTPUT=predict_url}"
: "${SMOKE_BODY={\"inputs\": [[0.5]]\}}"

# The driver of the BuildKit builder for ModelImage: docker-container, kubernetes or remote. Empty: nothing is built.
: "${BUILDER=docker-container}"
