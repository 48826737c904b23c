# The two commands are `make up` and `make test`; `make help` lists the others.
PYTHON ?= python3
STACK ?= dev
CLUSTER ?=
ONLY ?=
TESTS ?=
TIERS := tests/unit tests/assets tests/package tests/security
VENV := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help up preview progress down status test lint format test-unit test-integration test-cluster test-long security verify-gpu test-versions generate lock generate-vllm bench bench-server bench-mlflow bench-trainings bench-vllm chaos docs venv

help: ## List the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'
	@echo "  Variables: STACK=dev|staging|prod  CLUSTER=context|minikube|kind|embedded  ONLY=<pytest marker>  TESTS=<paths>  PYTHON=python3"

up: ## Bring everything up, from nothing to a served model
	@$(PYTHON) -m devkit up --deploy $(STACK) $(if $(CLUSTER),--cluster $(CLUSTER))

preview: ## Show what `make up` would change in the stack
	@eval "$$($(PYTHON) -m devkit env)" && pulumi preview --stack $(STACK) --diff

progress: ## Show how far the stack's data and training are, while `make up` waits for it
	@eval "$$($(PYTHON) -m devkit env)" && $(VENV)/python -m modelops.training.progress --namespace modelops-$(STACK)

down: ## Remove the local platform and all that runs on it; caches and kept states stay
	@$(PYTHON) -m devkit down

status: ## Show what runs
	@$(PYTHON) -m devkit status

test: lint test-unit $(if $(TESTS),,test-integration test-cluster) ## Lint and every test but the long ones; TESTS=<paths>: lint and those alone

lint: venv ## Format check, lint and types
	$(VENV)/ruff format --check .
	$(VENV)/ruff check .
	$(VENV)/mypy

format: venv ## Format the sources and mend what the linter can
	$(VENV)/ruff format .
	$(VENV)/ruff check --fix .

test-unit: venv ## The fast tests, without a cluster; TESTS=<paths>: all tests of those files
	@echo "$(if $(TESTS),tests of $(TESTS),unit tests: about six minutes on 2 cores)"
	$(VENV)/pytest $(if $(TESTS),$(TESTS),$(TIERS) -m "not integration and not long" -n auto --dist loadfile)

test-integration: venv ## Slower tests without a cluster: trainings, real servers, wheels, types of a consumer, alert rules
	@echo "integration tests: about 10 minutes on 2 cores; the first run builds Prometheus for its promtool"
	$(VENV)/pytest $(TIERS) -m "integration and not long" -n 2 --dist loadfile

test-cluster: venv ## The behaviours on the real local cluster; ONLY=<marker> for all of one area, its long tests included
ifdef ONLY
	$(VENV)/pytest tests/cluster -m "$(ONLY)"
else
	@echo "cluster tests: about 25 minutes on 2 cores; most of their time is waiting, so three wait at once"
	$(VENV)/pytest tests/cluster -m "not long and not lifecycle" -n 3 --dist loadfile
	$(VENV)/pytest tests/cluster -m "lifecycle and not long"
endif

test-long: venv ## The tests that take minutes or gigabytes each, most of them on the cluster, and are not part of `make test`
	$(VENV)/pytest tests/cluster $(TIERS) -m long

security: venv ## Grade the stacks' manifests, take hardening away field by field, search the history, attack a fetch and the model server (5 minutes)
	$(VENV)/pytest tests/security

chaos: venv ## Faults, and fuzzed settings and arguments, on the local cluster; MODELOPS_CHAOS_SEED; TESTS='<a test's id>' repeats one
	$(VENV)/pytest $(if $(TESTS),'$(TESTS)',tests/chaos) -m chaos

verify-gpu: venv ## What only a GPU can show, on the cluster that kubectl talks to; REPOSITORY=<where images may be pushed>
	REPOSITORY=$(REPOSITORY) $(VENV)/pytest tests/gpu -m gpu --no-header

# pyenv's shims refuse every Python but the chosen one, so its interpreters themselves come first.
PYENV := $(subst $() ,:,$(wildcard $(or $(PYENV_ROOT),$(HOME)/.pyenv)/versions/3.1[1-9]*/bin))

test-versions: venv ## The library's tests with the lowest and the newest Pulumi that it declares, on each Python from 3.11 on
	@cache=$$($(VENV)/python -c 'from devkit.paths import cache_root; print(cache_root())') && \
	PATH="$(if $(PYENV),$(PYENV):)$$PATH" UV_CACHE_DIR="$$cache/uv" UV_PYTHON_DOWNLOADS=never \
	$(VENV)/tox run --recreate --workdir "$$cache/tox" -q

generate: venv ## Renew what is generated from the code: tables of the docs, the catalog of data steps, the plugin's schema
	PYTHONPATH=components:model $(VENV)/python -m docs.components.generate
	PYTHONPATH=components:model $(VENV)/python -m docs.data_steps
	PYTHONPATH=components:model $(VENV)/python -m docs.scan_text
	PYTHONPATH=components:model $(VENV)/python -m docs.environments
	PYTHONPATH=components:model $(VENV)/python -m docs.performance
	UPDATE_GOLDEN=1 $(VENV)/pytest -q tests/package/test_consumer.py -k schema

lock: venv ## Lock what the images install, with the hashes of its files: model/locks, from model/requirements-*.txt
	$(VENV)/python -m devkit.locks

generate-vllm: venv ## Renew what the library knows of the pinned vLLM, its flags and metrics, from a real one (2 minutes, 6 GB)
	$(VENV)/python -m tests.llm_record

bench: venv ## Measure every figure beside what it is compared with, and write docs/performance.md; ONLY=server,larger,mlflow,data,imports,rendering,images,previews,updates,launch,trainings
	@eval "$$($(PYTHON) -m devkit env 2>/dev/null)"; $(VENV)/python -m bench $(if $(ONLY),--only $(ONLY))

bench-server: venv ## Measure the model server against its goals and other model servers, on a quiet machine
	$(VENV)/python -m bench.serve

bench-mlflow: venv ## Measure models of plain MLflow beside MLServer, BentoML and mlflow models serve
	$(VENV)/python -m bench.mlflow_models

bench-vllm: venv ## Measure a service on vLLM beside the bare engine, on the local cluster (make up) and a quiet machine
	@eval "$$($(PYTHON) -m devkit env)" && $(VENV)/python -m bench.vllm_service

bench-trainings: venv ## Measure what COUNT=100 TrainingJobs cost `pulumi up` beside as many plain Jobs, on the local cluster (make up)
	@eval "$$($(PYTHON) -m devkit env)" && $(VENV)/python -m bench.trainings --count $(or $(COUNT),100)

docs: venv ## Build the docs site into build/docs; every warning is an error
	$(VENV)/python -m sphinx -q -W --keep-going -b html docs build/docs
	@echo "build/docs/index.html"

venv:
	@$(PYTHON) -m devkit.bootstrap requirements.txt

.PHONY: dist sbom audit release record
dist: venv ## Build the wheels and source archives into build/dist and check what is in them
	$(VENV)/python -m devkit.dist

sbom: venv ## Write bills of materials (CycloneDX) of the images and the distributions into build/sbom
	$(VENV)/python -m devkit.sbom

audit: venv ## Look up known vulnerabilities of what the images install, in PyPI's advisories
	$(VENV)/uv tool run --from pip-audit==2.10.1 pip-audit --strict --disable-pip $(addprefix -r ,$(wildcard model/locks/*.txt))

release: venv ## Release VERSION=x.y.z: versions, changelog, generated files, archives, then a commit and a tag; pushes nothing
	@$(VENV)/python -m devkit.release $(VERSION)

# What this release makes, which the next one has to keep. Part of `make release`.
record: venv
	RECORD_RELEASE=1 $(VENV)/pytest -q tests/package/test_upgrade.py
