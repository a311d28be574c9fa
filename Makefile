# Everything runs from a fresh clone: the virtual environment is made on first use from requirements.lock.
PYTHON ?= python3
BIN    := .venv/bin
ARGS   ?=
# A worker that has no test left takes some of the other's: the slowest files would keep one waiting for minutes.
WORKERS := --numprocesses=2 --dist=worksteal

.DEFAULT_GOAL := help
.PHONY: help bench check compare peers containers demo faults handover locking-demo matrix secrets test mutants snippets unit lint format lock clean

# `make check` looks at one folder, and at the folders of tests that mirror it.
FOLDER := $(patsubst %/,%,$(ARGS))
MIRROR := $(wildcard $(foreach layer,unit integration,tests/$(layer)/$(patsubst tests/%,%,$(FOLDER))))
CHECKED = $(sort $(FOLDER) $(MIRROR))

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/.ready ## Run the whole path on private servers, with crashes and a lost slot in the middle (ARGS=--keep leaves it running)
	$(BIN)/sandbox demo $(ARGS)

locking-demo: .venv/.ready ## Let many requests grab tasks at once behind nginx, on a private Postgres (ARGS=--without-skip-locked compares)
	$(BIN)/sandbox locking-demo $(ARGS)

secrets: ## Make the passwords of docker-compose.yml in secrets/, unless they are there
	@docker/secrets

test: lint ## Lint, types, import rules and every test on private servers, by two workers (ARGS goes to pytest)
	$(BIN)/pytest $(WORKERS) $(ARGS)

unit: .venv/.ready ## Only the tests that need no server
	$(BIN)/pytest $(WORKERS) tests/unit tests/matrix tests/mutants tests/sample $(ARGS)

check: .venv/.ready ## Lint, types, import rules and the tests of one folder (ARGS=relay/publishing)
	@test -n "$(FOLDER)" || { echo "make: name a folder: make check ARGS=relay/publishing" >&2; exit 2; }
	@test -d "$(FOLDER)" || { echo "make: no folder '$(FOLDER)' here; name one: make check ARGS=relay/publishing" >&2; exit 2; }
	$(BIN)/ruff check $(CHECKED)
	$(BIN)/ruff format --check $(CHECKED)
	$(BIN)/mypy $(CHECKED)
	$(BIN)/lint-imports
	$(if $(filter tests/%,$(CHECKED)),$(BIN)/pytest $(filter tests/%,$(CHECKED)),@echo "no tests/unit/$(FOLDER), no tests/integration/$(FOLDER): no tests to run")

containers: .venv/.ready ## Build the images and run docker-compose.yml on a Docker engine: kill, count, scan (ARGS goes to pytest)
	$(BIN)/pytest tests/containers/on_the_engine.py $(ARGS)

faults: .venv/.ready ## Break processes, servers and links under load, and check what arrived (ARGS: names, --seeds, --seed)
	$(BIN)/python -m tests.faults $(ARGS)

handover: .venv/.ready ## Hand over between the WAL and polling under load, both ways, with several seeds (ARGS: ways, --seeds, --seed)
	$(BIN)/python -m tests.handover $(ARGS)

matrix: .venv/.ready ## Run the tests that use servers in containers of three releases of Debian (ARGS: --release, --base, -- a command)
	$(BIN)/python -m tests.matrix $(ARGS)

mutants: .venv/.ready ## Break the relay in known ways, and check that a test fails by each (ARGS picks by name)
	$(BIN)/python -m tests.mutants $(ARGS)

snippets: .venv/.ready ## Run every program of docs/writers.md: Python, Java, Go and Node with their clients (needs JDK, Maven, Go, npm)
	$(BIN)/pytest tests/snippets/test_python.py tests/snippets/other_languages.py $(ARGS)

bench: .venv/.ready ## Measure relay, consumers and service on private servers, with nothing else running (ARGS=all, tasks, http, drain, cpu, latency, memory, sources, shadow, partitions)
	$(BIN)/bench $(ARGS)

compare: .venv/.ready ## Compare the WAL with polling on private servers, in ten minutes, with nothing else running (ARGS=--full takes 90)
	$(BIN)/bench compare --quick $(ARGS)

peers: .venv/.ready ## Compare other relays and table queues with ours, and break each, in 20 minutes (ARGS=--out DIR adds them to a comparison)
	$(BIN)/bench peers $(ARGS)

lint: .venv/.ready ## Style, types and import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/.ready ## Rewrite the code in the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: .venv/.ready ## Pin the newest dependencies: hashes, no addresses
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 \
	  --generate-hashes --no-header --upgrade --quiet --output-file requirements.lock
	$(IMAGE_LOCK) pyproject.toml --extra otel --extra redis --output-file docker/application/requirements.lock
	$(IMAGE_LOCK) docker/application/build.in --output-file docker/application/build.lock

# What the application image installs is what was tested: the same versions.
IMAGE_LOCK = $(BIN)/uv pip compile --universal --python-version 3.13 --constraint requirements.lock \
  --generate-hashes --no-header --no-annotate --quiet

clean: ## Remove the virtual environment and caches
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

.venv/.ready: requirements.lock pyproject.toml sandbox/launcher
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "make: $(PYTHON) is older than 3.11; name another: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -m venv .venv \
	  || { echo "make: $(PYTHON) cannot make a virtual environment (Debian, Ubuntu: apt-get install python3-venv)" >&2; exit 1; }
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@for command in sandbox bench; do install -m 755 sandbox/launcher $(BIN)/$$command; done
	@touch $@
