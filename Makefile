# make demo   install and run the quick start: train, evaluate, explain on the shipped corpus
# make test   install and run every check and every test
# make test-compat  install the oldest supported Transformers apart, and test what touches it
# make bench  the fast form of every benchmark; each prints a table and stores its result
# make test-fast, lint, format: parts of it, for development
# Both need Python 3.11 or newer and nothing else.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
COMPAT := .venv-compat
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
# torch first and alone: a looser requirement would pull gigabytes of CUDA libraries.
TORCH := $(shell sed -n 's/^\(torch==[^ ]*\).*/\1/p' constraints.txt)

.PHONY: demo test test-compat bench test-fast lint format clean

demo: $(VENV)/.quickstart
	$(BIN)/armorm demo

test: $(VENV)/.dev lint
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --cov=armorm --cov-report= -m "not slow and not gpu and not network"
	$(BIN)/python -m coverage report --include='src/armorm/heads/*,src/armorm/evaluate/*' --fail-under=95
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "slow and not gpu and not network" --ignore tests/test_mutants.py
	$(BIN)/python -m pytest -q -n 2 --dist load -m slow tests/test_mutants.py

test-fast: $(VENV)/.dev
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not slow and not gpu and not network"

# The parts that load, run, import and export models, on the versions of constraints-compat.txt.
test-compat: $(COMPAT)/.ready
	$(COMPAT)/bin/python -m pytest -q -n 2 --dist loadfile -m "not slow and not gpu and not network" tests/features tests/model

bench: $(VENV)/.dev
	$(BIN)/python benchmarks/extract.py --fast
	$(BIN)/python benchmarks/score.py --fast
	$(BIN)/python benchmarks/ridge.py --fast
	$(BIN)/python benchmarks/gating.py --fast
	$(BIN)/python benchmarks/quickstart_layers.py --fast

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/codespell src tests docs recipes examples README.md CHANGELOG.md CONTRIBUTING.md
	$(BIN)/pydoclint -q src
	$(BIN)/lint-imports
	$(BIN)/basedpyright

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) $(COMPAT) runs build dist

$(BIN)/python $(COMPAT)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "armorm needs Python 3.11 or newer; found " + sys.version.split()[0])'
	$(PYTHON) -m venv $(@:/bin/python=)

$(VENV)/.quickstart: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install -q -c constraints.txt $(TORCH)
	$(PIP) install -q -c constraints.txt -e '.[quickstart]'
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install -q -c constraints.txt $(TORCH)
	$(PIP) install -q -c constraints.txt -e '.[dev]'
	touch $@ $(VENV)/.quickstart

# constraints.txt with the lines of constraints-compat.txt in place of its own.
$(COMPAT)/constraints.txt: constraints.txt constraints-compat.txt | $(COMPAT)/bin/python
	grep -v -E "^($$(sed -n 's/^\([A-Za-z0-9_.-]*\)==.*/\1/p' constraints-compat.txt | paste -sd'|'))==" constraints.txt > $@
	cat constraints-compat.txt >> $@

$(COMPAT)/.ready: pyproject.toml $(COMPAT)/constraints.txt
	$(COMPAT)/bin/python -m pip --disable-pip-version-check --no-input install -q -c $(COMPAT)/constraints.txt $(TORCH)
	$(COMPAT)/bin/python -m pip --disable-pip-version-check --no-input install -q -c $(COMPAT)/constraints.txt -e '.[compat]'
	touch $@
