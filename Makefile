# `make help` lists the targets. Everything is installed into .venv; caches of built tools lie outside the checkout.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Threads that spin on a busy machine cost a factor of ten: as many as there are cores, or what the caller says.
export OMP_NUM_THREADS ?= $(shell nproc 2>/dev/null || sysctl -n hw.ncpu)
export TOKENIZERS_PARALLELISM := false
# Where this is set, every process would compile torch and its kin again: twenty seconds.
unexport PYTHONDONTWRITEBYTECODE
# Python's tests run in parallel processes of one thread each.
WORKERS ?= $(OMP_NUM_THREADS)
# Tests on a cluster wait more than they compute.
CLUSTER_WORKERS ?= 4
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup

.PHONY: help setup demo test test-local test-long on-cluster on-gpu cluster cluster-down lint types imports unit integration drift constraints schema clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'

$(BIN)/uv:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is %d.%d: make PYTHON=python3.12 ..." % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt uv

$(VENV)/.demo: $(BIN)/uv pyproject.toml constraints.txt
	$(BIN)/uv pip install -q --python $(BIN)/python -c constraints.txt -e '.[trainer,demo]'
	@touch $@

$(VENV)/.dev: $(BIN)/uv pyproject.toml constraints.txt
	$(BIN)/uv pip install -q --python $(BIN)/python -c constraints.txt -e '.[operator,trainer,demo,dev]'
	@touch $@ $(VENV)/.demo

setup: $(VENV)/.dev ## Make .venv with everything that the tests need
	@$(BIN)/python -m tests.support.tools

demo: $(VENV)/.demo ## Fine-tune on a small real picture set and print what it changed (5 minutes on 2 cores)
	@$(BIN)/python demo/run.py

test: setup lint types imports drift unit integration on-cluster ## Everything that CI runs

test-local: $(VENV)/.dev lint types imports drift unit integration ## The part of it that needs no cluster

lint: $(VENV)/.dev ## Ruff: style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev ## The strict type checker
	$(BIN)/mypy sdk trainer_image operator tests benchmarks demo

imports: $(VENV)/.dev ## Who may import whom
	$(BIN)/lint-imports

drift: $(VENV)/.dev ## Generated files are what the code says
	$(BIN)/python -m tests.support.drift

unit: $(VENV)/.dev ## Quick tests, a minute or two
	$(PYTEST) tests/unit

integration: setup ## Real storage servers, real training, a real browser
	$(PYTEST) tests/integration

on-cluster: setup ## A real Kubernetes with a real node: the operator by its chart, real training (root on Debian 12+)
	$(BIN)/python -m tests.cluster.images
	$(PYTEST) -n $(CLUSTER_WORKERS) tests/on_cluster

on-gpu: setup ## On a machine with a CUDA device: runs, their resumption, memory and figures there
	$(PYTEST) -n $(WORKERS) tests/on_gpu/test_runs.py tests/on_gpu/test_figures.py
	$(BIN)/python -m pytest tests/on_gpu/test_memory.py

test-long: setup ## The long sweeps of which `make test` holds a sample: generated specs, kills of operator and trainer
	FINETUNE_TEST_LONG=1 $(PYTEST) tests/on_cluster/crd tests/on_cluster/faults tests/integration/test_run_kills.py

cluster: setup ## A test cluster to try things in, with operator, MinIO and an example's data (root on Debian 12+)
	@$(BIN)/python -m tests.cluster up

cluster-down: $(VENV)/.dev ## End it
	@$(BIN)/python -m tests.cluster down

schema: $(VENV)/.dev ## Write the generated files again
	$(BIN)/python -m tests.support.drift --write

constraints: $(BIN)/uv ## Renew constraints.txt to the newest versions that fit
	$(BIN)/uv pip install -q --python $(BIN)/python --upgrade -e '.[operator,trainer,demo,dev]'
	{ head -1 constraints.txt; $(BIN)/uv pip freeze --python $(BIN)/python | grep -vE '^-e|^finetune-operator|@ '; } > constraints.new
	mv constraints.new constraints.txt

clean: ## Remove .venv and what tools leave behind
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis demo/output
