# `make demo` and `make test` are all that a fresh machine with Python 3.11 needs.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin

.PHONY: venv demo test lint smoke clean

venv: .venv/installed

.venv/installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --editable ".[plots,dev]"
	touch $@

demo: venv
	$(BIN)/python examples/digits.py

test: venv
	$(BIN)/python -m pytest -n 2 --dist worksteal --cov --cov-report=term

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

smoke: venv
	$(BIN)/python examples/digits.py --smoke --runs build/smoke/runs --export build/smoke/saved_models
	$(BIN)/python benchmarks/step_time.py --quick

clean:
	rm -rf .venv build runs
