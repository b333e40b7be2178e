# On a fresh machine: `make demo`, `make live`, `make test`. Each sets everything up in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUNS := $(VENV)/.runs
READY := $(VENV)/.ready
PIP := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo live compare faults test lint bench docs setup clean
setup: $(READY)

# What a run needs, without the developers' tools.
$(RUNS): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) -e .
	touch $(RUNS)

$(READY): $(RUNS)
	$(PIP) -e '.[dev]'
	touch $(READY)

demo: $(RUNS)
	$(BIN)/tokenswarm demo

live: $(RUNS)
	$(BIN)/tokenswarm live

compare: $(RUNS)
	$(BIN)/python scripts/compare.py

# Sixty random faults in short runs, about three quarters of an hour; docs/faults.md.
faults: $(READY)
	$(BIN)/python -m scripts.faults

# SYSTEM=1 (or CI=true) installs the Debian packages of some tests; else those are skipped and named.
test: $(READY)
	scripts/system_packages.sh
	$(BIN)/python scripts/suite.py

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)
	$(BIN)/python scripts/bench.py

# docs/options.md, from the parsers.
docs: $(READY)
	$(BIN)/python scripts/options_page.py

clean:
	rm -rf $(VENV) build *.egg-info runs
