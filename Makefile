# Everything a developer, or a machine, does with this checkout. `make` alone lists it.

PYTHON ?=
TESTS ?=
JOBS ?= 6
BENCH ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help demo test check bench format clean

help:  ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.core  ## a short tour: tasks, priorities, retries, dead letters
	@$(BIN)/brokerkit demo

test: $(VENV)/.dev  ## run the tests; TESTS="tests/unit -k word" runs some, JOBS=0 in one process
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup $(TESTS)

check: $(VENV)/.dev  ## lint, format, types and import rules
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -qq tests/architecture

bench: $(VENV)/.dev  ## measure speed, about 15 minutes; BENCH="--quick" or "--only latency" is quicker
	@$(BIN)/python -m tests.bench --json bench.json $(BENCH)

format: $(VENV)/.dev  ## format, and fix what the linter can
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

clean:  ## remove the virtual environment, caches and build results
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The virtual environment: `make demo` installs the core only, everything else the development tools as well.
# Each step leaves an empty file behind when it has succeeded, so that it runs once and an interrupted one runs again.
$(VENV)/.python:
	@for python in $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11); do \
		"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
		echo "Creating $(VENV) with $$("$$python" --version)"; \
		"$$python" -m venv --clear $(VENV) && touch $@; \
		exit; \
	done; \
	echo "brokerkit needs Python 3.11 or newer: make PYTHON=/path/to/python3.11" >&2; exit 1

$(VENV)/.core: pyproject.toml | $(VENV)/.python
	@echo "Installing brokerkit"
	@$(PIP) -e .
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/.python
	@echo "Installing brokerkit and its development tools"
	@$(PIP) -e '.[dev]'
	@touch $(VENV)/.core $@
