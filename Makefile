# On a fresh machine, `make quickstart` and `make test` do everything.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PARALLEL := --numprocesses logical --maxprocesses 4 --dist loadfile
EXTRAS := demo,tune,export,docs,dev

export NO_ALBUMENTATIONS_UPDATE := 1
export HF_HUB_DISABLE_TELEMETRY := 1
export GRADIO_ANALYTICS_ENABLED := False

.PHONY: help setup quickstart demo test test-slow test-versions lint docs format clean

help:
	@echo "make quickstart   train the built-in example and write runs/quickstart"
	@echo "make demo         open the demo with that model"
	@echo "make test         run the fast tests (make test-slow: the long ones)"
	@echo "make lint         check style, layers and types (make format: fix style)"
	@echo "make docs         build the documentation in build/site"

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "hfseg needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@

setup: $(READY)

quickstart: $(READY)
	$(BIN)/hfseg finetune

demo: $(READY)
	test -f runs/quickstart/config.json || $(MAKE) quickstart
	$(BIN)/hfseg demo

test: $(READY)
	$(BIN)/python -m pytest -m "not slow" $(PARALLEL)

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow $(PARALLEL) -rP --durations 20

test-versions: $(READY)
	$(BIN)/python .ci/versions.py lowest 3.11
	$(BIN)/python .ci/versions.py newest 3.11

lint: $(READY)
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/mypy

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet --site-dir build/site

format: $(READY)
	$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

clean:
	rm -rf runs build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis
