# On a fresh machine: `make demo`, `make live`, `make test`. Each sets everything up in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo live compare test lint bench setup clean
setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(READY)

demo: $(READY)
	$(BIN)/tokenswarm demo

live: $(READY)
	$(BIN)/tokenswarm live

compare: $(READY)
	$(BIN)/python scripts/compare.py

test: $(READY)
	scripts/system_packages.sh
	$(BIN)/python -m pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)
	$(BIN)/python scripts/bench.py

clean:
	rm -rf $(VENV) build *.egg-info runs
