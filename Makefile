# make demo: set up and run the main job on embedded data.  make test: the whole suite.
# Both work on a fresh Debian or Ubuntu machine with Python 3.11.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test fast lint setup lock clean

demo: $(READY)
	$(BIN)/edgepack demo

test: $(READY)
	$(BIN)/python -m pytest

# The unmarked suite: no TensorFlow, no engine, no emulator, no other program.
fast: $(READY)
	$(BIN)/python -m pytest -m "not train and not container and not qemu and not device and not tools"

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

setup: $(READY)

$(READY): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 is needed; apt-get install python3.11 python3.11-venv"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' \
	  || { echo "Python 3.11 is needed, got $$($(PYTHON) --version); make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null \
	  || { test "$$(id -u)" = 0 && apt-get update -q && apt-get install -y -q python3.11-venv; } \
	  || { echo "Python's venv is missing; apt-get install python3.11-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --require-hashes --only-binary=:all: -r requirements.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# Pins and hashes every package; the file names no index, so any mirror serves it.
lock:
	$(BIN)/pip-compile --quiet --generate-hashes --no-header --no-emit-index-url \
	  --no-emit-find-links --no-emit-trusted-host --allow-unsafe --strip-extras \
	  --all-extras --output-file requirements.lock pyproject.toml

clean:
	rm -rf $(VENV) out build dist .pytest_cache .mypy_cache .ruff_cache
