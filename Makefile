# `make demo` and `make test` are all that a fresh machine with Python 3.11 needs.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
# Measuring which lines run takes a quarter more time.
COVERAGE ?= --cov --cov-report=term
RECIPES := census_income womens_clothing reviews movielens river_flow scenes digits_sharing \
	continual_digits molecule_ace multi_mnist translation brown intents assistant opinion_monitor \
	questions
BENCHMARKS := step_time method_time toy_steps experts trace_time missing_labels mixing profile_step kernels

.PHONY: venv demo test lint smoke smoke-cli smoke-others clean

venv: .venv/installed

.venv/installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --editable ".[plots,dev]"
	touch $@

demo: venv
	$(BIN)/python examples/digits.py

test: venv
	$(BIN)/python -m pytest -n 2 --dist worksteal $(COVERAGE)

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

smoke: venv
	rm -rf build/smoke
	# Two at a time: most of a smoke run is tracing, on one core.
	$(MAKE) -j 2 smoke-cli smoke-others $(RECIPES:%=smoke-%) $(BENCHMARKS:%=quick-%)

smoke-cli:
	$(BIN)/python examples/digits.py --smoke --runs build/smoke/runs --export build/smoke/saved_models
	$(BIN)/keras-mtl train examples/digits.yaml --output build/smoke/cli \
		--set fit.epochs=1 --set fit.steps_per_epoch=5
	$(BIN)/keras-mtl evaluate build/smoke/cli --split validation
	$(BIN)/keras-mtl report build/smoke/cli
	$(BIN)/keras-mtl export save build/smoke/cli/model.keras build/smoke/digits
	$(BIN)/keras-mtl export verify build/smoke/digits

smoke-others:
	$(BIN)/python examples/toy_landscapes.py --smoke --output build/smoke/toys.png
	$(BIN)/python examples/mmoe_synthetic.py --smoke --output build/smoke/mmoe.png

smoke-%:
	$(BIN)/python examples/$*.py --smoke --runs build/smoke/$*

quick-%:
	$(BIN)/python benchmarks/$*.py --quick

clean:
	rm -rf .venv build runs
