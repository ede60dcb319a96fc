# `make` alone prints the targets. CI runs these targets and nothing else.
# Every target sets the environment up by itself; scripts/setup.sh does nothing when it is up to date.

VENV ?= .venv
PYTHON ?=
ARGS ?=
SECONDS ?= 60
REQUESTS ?= 10000
JOBS ?= 3
BIN = $(VENV)/bin
PYTEST = $(BIN)/pytest -n $(JOBS) --dist loadgroup
UV_COMPILE = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate --no-emit-index-url --no-emit-find-links
SETUP = @VENV="$(VENV)" PYTHON="$(PYTHON)" scripts/setup.sh

.DEFAULT_GOAL := help
.PHONY: help setup serve test test-e2e test-sandbox test-sdk test-vm soak bench compat fuzz cov lint type fmt docs lock seccomp check clean

help: ## Print this help
	@echo "endpoint-executor: runs Dify plugin endpoints, one short-lived worker process per request"
	@echo
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  Variables: ARGS=\"...\" goes to the command; JOBS=3 tests run side by side; PYTHON=python3.12 VENV=.venv-3.12 use another Python"

setup: ## Build .venv with everything; quick when it is up to date
	$(SETUP)

serve: setup ## Serve the example plugin (ARGS="--port 0" and the like)
	@exec $(BIN)/executor serve --config examples/executor.yaml $(ARGS)

test: setup ## Run the tests (ARGS="-k cat -x" and the like)
	@scripts/setup-postgresql.sh
	@$(BIN)/python -m compileall -q protocol worker executor
	$(PYTEST) $(ARGS)

test-e2e: setup ## Run only the tests with a real service and real workers
	@scripts/setup-postgresql.sh
	$(PYTEST) -m "e2e and not stress" $(ARGS)

test-sandbox: setup ## Run the attacks: contained, and successful where their layers are off
	SANDBOX_MUST_WORK=1 $(PYTEST) -m "not stress" tests/sandbox $(ARGS)

test-sdk: setup ## Run the tests with every version of the real Dify SDK; takes minutes
	$(PYTEST) -m "sdk or not sdk" tests/e2e/test_environments.py tests/e2e/test_serverless_sdk.py tests/e2e/test_reverse_targets.py tests/worker/test_environment.py $(ARGS)

test-vm: setup ## Run the tests of isolation in a virtual machine with control groups of version 2; takes an hour
	VENV="$(VENV)" scripts/test-vm.sh $(ARGS)

soak: setup ## Run the load and soak tests; takes minutes, REQUESTS=500 ARGS="-k mixed" one
	SOAK_REQUESTS=$(REQUESTS) $(BIN)/pytest -m stress $(ARGS)

bench: setup ## Measure against the alternatives (ARGS=--help tells how); takes half an hour
	$(BIN)/python -m tests.bench $(ARGS)

compat: setup ## Compare public plugins here with Dify's SDK (ARGS=--help tells how); fetches them and what they need
	$(BIN)/python -m tests.compat $(ARGS)

fuzz: ## Fuzz the protocol for SECONDS=60
	@VENV="$(VENV)" PYTHON="$(PYTHON)" scripts/setup.sh fuzz
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS) $(ARGS)

cov: setup ## Run the tests with branch coverage, of services that they start as well
	@scripts/setup-postgresql.sh
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

lint: setup ## Check style with ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: setup ## Check types with mypy --strict
	$(BIN)/mypy

fmt: setup ## Format the code and mend what ruff can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: setup ## Generate docs/settings.md and check every link
	$(BIN)/executor config reference > docs/settings.md.new && mv docs/settings.md.new docs/settings.md
	$(BIN)/pytest -q tests/test_project.py

lock: ## Pin the newest versions that fit into requirements/*.lock
	python3 -m venv build/lock
	build/lock/bin/python -m pip install --quiet --disable-pip-version-check uv
	build/lock/bin/$(UV_COMPILE) --upgrade pyproject.toml -o requirements/run.lock
	build/lock/bin/$(UV_COMPILE) --upgrade pyproject.toml --group dev -o requirements/dev.lock
	build/lock/bin/$(UV_COMPILE) --upgrade pyproject.toml --group dev --group fuzz -o requirements/fuzz.lock
	build/lock/bin/$(UV_COMPILE) --upgrade --group vm -o requirements/vm.lock

seccomp: setup ## Compile the filter of system calls from its policy; needs libseccomp.so.2
	$(BIN)/python -m scripts.compile_seccomp

check: lint type test ## Everything that CI checks

clean: ## Remove everything that make has made, the environment included
	rm -rf build dist worker/native/*.so .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .coverage.*
	find . -name __pycache__ -type d -not -path './.venv*' -prune -exec rm -rf {} +
	if [ -f "$(VENV)/pyvenv.cfg" ] || [ -f "$(VENV)/.setup-unfinished" ]; then rm -rf "$(VENV)"; fi
