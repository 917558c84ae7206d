# Two commands set everything up: `make demo` for users, `make test` for developers. Both need only Python 3.10+ and git.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test
.DEFAULT_GOAL := demo

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip

$(VENV)/.installed: $(BIN)/python pyproject.toml
	$(BIN)/pip install --quiet -e .
	touch $@

$(VENV)/.developed: $(BIN)/python pyproject.toml
	$(BIN)/pip install --quiet -e '.[dev]'
	touch $@

# A verdict other than pass (exit codes 1 and 3) is a result, not a broken demo.
demo: $(VENV)/.installed
	$(BIN)/mdgen quickstart --out demo || [ $$? -eq 1 -o $$? -eq 3 ]

test: $(VENV)/.developed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest
