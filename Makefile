# Two commands do everything on a fresh machine: `make quickstart` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
EXTRAS := demo,tune,export,dev
# accelerate gives a process on the CPU one thread unless told otherwise
CORES := $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)

export NO_ALBUMENTATIONS_UPDATE := 1
export HF_HUB_DISABLE_TELEMETRY := 1
export GRADIO_ANALYTICS_ENABLED := False

.PHONY: help setup quickstart demo test test-slow lint format clean

help:
	@echo "make quickstart   train the built-in example and write runs/quickstart"
	@echo "make demo         open the demo page on it"
	@echo "make test         the tests (make test-slow: the long ones)"
	@echo "make lint         ruff; make format mends what it can"

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "hfseg needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@

setup: $(READY)

quickstart: $(READY)
	$(BIN)/accelerate launch --num_processes 1 --num_machines 1 \
		--num_cpu_threads_per_process $(CORES) --mixed_precision no --dynamo_backend no scripts/finetune.py

demo: $(READY)
	test -f runs/quickstart/config.json || $(MAKE) quickstart
	$(BIN)/python demo/app.py

test: $(READY)
	$(BIN)/python -m pytest -m "not slow" --numprocesses logical --maxprocesses 4 --dist loadfile

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow -s

lint: $(READY)
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

format: $(READY)
	$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

clean:
	rm -rf runs build dist .pytest_cache .ruff_cache .hypothesis
