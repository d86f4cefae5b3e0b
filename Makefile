# Everything a person or CI does has a target here; `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NATIVE := CMakeLists.txt pyproject.toml $(shell find native -type f 2>/dev/null)
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help run serve test soak sanitize check format bench native clean

help: ## list the targets
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 10

run: $(VENV)/.installed ## build, fetch the default model, serve it, ask it a question, show the timeline
	@$(BIN)/legato demo

serve: $(VENV)/.installed ## build and serve the default model until interrupted
	@$(BIN)/legato serve

test: $(VENV)/.installed-dev ## run the whole test suite
	@$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal

STEPS ?= 1000000
soak: $(VENV)/.installed-dev ## a million steps of random schedules with faults; SEED=n replays one
	@PYTHONPATH=tests $(BIN)/python -m sim.soak $(if $(SEED),--seed $(SEED),--steps $(STEPS))

sanitize: $(VENV)/.installed-dev ## the kernels' checks and every op under AddressSanitizer and UBSan
	@scripts/sanitize.sh

check: $(VENV)/.installed-dev ## lint, types, import direction
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python scripts/check_imports.py

format: $(VENV)/.installed-dev ## format the Python code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(VENV)/.installed ## measure the engine in process
	@$(BIN)/legato bench engine

native: $(VENV)/.installed ## rebuild the native kernels

clean: ## remove what was built
	rm -rf $(VENV) build

$(VENV)/bin/python:
	@$(PYTHON) scripts/preflight.py
	@echo "legato: making $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python $(NATIVE)
	@$(PYTHON) scripts/preflight.py
	@echo "legato: building and installing (about a minute the first time)"
	@$(PIP) --editable .
	@touch $@

# With the tools in one go: pip builds in an environment of its own, so that a second run would compile all again.
$(VENV)/.installed-dev: $(VENV)/bin/python $(NATIVE)
	@$(PYTHON) scripts/preflight.py
	@echo "legato: building and installing with the development tools (about two minutes the first time)"
	@$(PIP) --editable '.[dev]'
	@touch $(VENV)/.installed $@
