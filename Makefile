# On a fresh machine: `make demo` and `make test` do all the set-up.
VENV ?= .venv
BIN := $(VENV)/bin
PYTHON ?= python3
INSTALLED := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

ORACLE := $(or $(CELLZOO_ORACLE),.oracle)

.PHONY: demo test lint oracle bench format clean

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --constraint constraints.txt torch
	$(PIP) install --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: $(INSTALLED)  ## the whole story on packaged real data; ends with a page
	$(BIN)/cellzoo demo -o demo

test: $(INSTALLED) lint oracle  ## linters, types, and every test
	$(BIN)/python -m pytest -n 2 --dist loadfile --max-worker-restart 0

oracle: $(INSTALLED)  ## the official CELLxGENE validator, in an environment of its own
	$(BIN)/python -m cellzoo.ci.oracle $(ORACLE)

lint: $(INSTALLED)  ## ruff, mypy strict, the layers, the cards
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/cellzoo check

bench: $(INSTALLED) oracle  ## side by side with what a user would pick instead
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/catalogue.py
	$(BIN)/python benchmarks/ontology.py
	$(BIN)/python benchmarks/suggest.py
	$(BIN)/python benchmarks/annotation.py
	$(BIN)/python benchmarks/validate.py
	$(BIN)/python benchmarks/store.py
	$(BIN)/python benchmarks/memory.py

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) .oracle demo build dist *.egg-info
