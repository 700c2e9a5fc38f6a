# One entry point for people and CI. Needs only Python 3.11 or newer with venv, and make; the rest is installed into .venv.
.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

FLEET ?= mixed
NAME ?= default
# Cluster tests mostly wait for the API server: two workers share it well even on two cores. Files stay whole.
PARALLEL ?= --numprocesses 2 --dist loadfile

.PHONY: help
help: ## Show this help
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.installed: requirements/dev.txt pyproject.toml
	@echo "installing the locked dependencies into $(VENV) (about a minute the first time)"
	@# An interrupt leaves a .venv without pip, and so does a Python whose ensurepip the distribution packs apart.
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -c "import ensurepip, venv" 2>/dev/null || \
		{ echo "$(PYTHON) cannot make virtual environments: install python3-venv (Debian, Ubuntu)," \
			"or name another Python: make PYTHON=..." >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.PHONY: install
install: $(VENV)/.installed ## Install the locked dependencies into .venv

.PHONY: demo
demo: install ## Real control plane, simulated supernodes, operator, jobs: see them land
	@$(BIN)/python -m testbed.demo

.PHONY: test
test: install lint ## Lint, types, unit, property and cluster tests, pods on real nodes where root
	@$(BIN)/python -m testbed.realnodes prepare
	@$(BIN)/python -m pytest $(PARALLEL)

.PHONY: test-fast
test-fast: install ## Unit and property tests only (no control plane)
	@$(BIN)/python -m pytest $(PARALLEL) -m "not cluster"

.PHONY: test-real
test-real: install ## Only the tests on real nodes: Open MPI, PyTorch, JAX, device plugins (needs root)
	@$(BIN)/python -m testbed.realnodes prepare --install
	@$(BIN)/python -m pytest tests/realnodes

.PHONY: fuzz
fuzz: install ## 10 000 mutated documents through the plan command (about ten minutes)
	@FUZZ_DOCUMENTS=10000 $(BIN)/python -m pytest tests/cli/test_fuzz.py --numprocesses 2

.PHONY: mutants
mutants: install ## Plant faults in the allocator and see its tests notice each (five minutes)
	@PYTHONPATH=. $(BIN)/python -m tests.placement.mutants

.PHONY: nightly
nightly: install ## Every fault at every call, random walks of 100,000 steps together, a soak: hours
	@$(BIN)/python -m testbed build
	@$(BIN)/python -m pytest tests/robustness --nightly -k "not long_walk" --capture=no
	@$(BIN)/python -m pytest tests/robustness/test_walk.py --nightly -k long_walk --numprocesses 4 --dist load -rP

.PHONY: lint
lint: install ## Format check, lint, types, import direction, generated files
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m supernode.api generate --check
	@$(BIN)/python charts/sync.py --check

.PHONY: generate
generate: install ## Write CRDs, API reference, schemas and chart files from their sources
	@$(BIN)/python -m supernode.api generate
	@$(BIN)/python charts/sync.py

.PHONY: up
up: install ## Start a test bed: make up FLEET=a3-8 [NAME=mine]
	@$(BIN)/python -m testbed up --name $(NAME) --fleet examples/fleets/$(FLEET).yaml

.PHONY: down
down: install ## Stop the demo and every bed of make up; tests that run keep theirs
	@$(BIN)/python -m testbed down --all

.PHONY: bench
bench: install ## Measure placement and the engine against their expectations
	@$(BIN)/python -m bench

.PHONY: lock
lock: ## Resolve the dependencies anew into requirements/, and JAX for the image of real nodes
	@$(PYTHON) -m venv .cache/lock && .cache/lock/bin/pip install --quiet uv
	@for set in runtime dev; do \
		extra=$$(test $$set = dev && echo "--extra dev"); \
		.cache/lock/bin/uv pip compile pyproject.toml $$extra --universal --generate-hashes --no-emit-index-url --upgrade \
			--quiet --custom-compile-command "make lock" -o requirements/$$set.txt; done
	@.cache/lock/bin/uv pip compile testbed/realnodes/jax.in --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
		--generate-hashes --no-emit-index-url --upgrade --quiet --custom-compile-command "make lock" \
		-o testbed/realnodes/jax.txt
