# Two commands set everything up: `make demo` for users, `make test` for developers. Both need only Python 3.10+ and git.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test browser
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

# The report page is tested in Chromium. Without it, or root and apt to install it, those tests skip with the reason.
browser:
	@command -v chromium >/dev/null || { test "$$(id -u)" = 0 && apt-get update -qq \
	  && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; } >/dev/null 2>&1 \
	  || echo "no Chromium here: the tests of the report page will be skipped"

test: $(VENV)/.developed browser
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@if $(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then $(BIN)/mypy; \
	  else echo "mypy: left out on Python 3.10, where libraries have old types"; fi
	$(BIN)/pytest --numprocesses auto --maxprocesses 8 --dist loadfile
