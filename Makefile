# One venv, made with pip, from nothing but Python and make. `make demo` is the first thing to try.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo test coverage test-all check bench docs page build clean

demo: $(VENV)/.installed  ## arrange a piece, hear it measured and described
	$(BIN)/antiphon demo --output-dir demo

test: $(VENV)/.installed-dev  ## the default tests
	$(BIN)/python -m pytest -m "not slow and not gpu and not network"

coverage: $(VENV)/.installed-dev  ## the same with coverage, which takes twice as long
	$(BIN)/python -m pytest -m "not slow and not gpu and not network" --cov --cov-report=term:skip-covered

test-all: $(VENV)/.installed-dev  ## the slow ones too
	$(BIN)/python -m pytest -m "not gpu and not network"

check: $(VENV)/.installed-dev  ## lint, formatting, strict types, of the page too
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python setup.py --quiet build_page --check

bench: $(VENV)/.installed-bench  ## measure everything that docs/bench.md states, and write it
	$(BIN)/python bench/run.py

bench-%: $(VENV)/.installed-bench  ## one part of it: make bench-listener, bench-speed, …
	$(BIN)/python bench/run.py $*

docs: $(VENV)/.installed-dev  ## docs/commands.md from the help texts
	$(BIN)/typer antiphon.cli.main utils docs --name antiphon --title "Commands" | tr -d '\b' > docs/commands.md

page: $(VENV)/.installed-dev  ## the page again, after a change in web/
	$(BIN)/python setup.py --quiet build_page

build: $(VENV)/.installed-dev  ## wheel and sdist in dist/
	$(BIN)/python -m build

clean:
	rm -rf $(VENV) dist build demo web/node_modules src/antiphon/serve/page .coverage .mypy_cache .ruff_cache .pytest_cache

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --constraint constraints.txt --editable .
	touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --constraint constraints.txt --editable ".[dev]"
	touch $@ $(VENV)/.installed

$(VENV)/.installed-bench: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --constraint constraints.txt --editable ".[bench]"
	touch $@ $(VENV)/.installed $(VENV)/.installed-dev
