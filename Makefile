# Makes the environment and calls the tools in it; each recipe line can be typed by hand.
# Tools run as `.venv/bin/python -m tool`: a console script's first line breaks on long paths and paths with spaces.

.DEFAULT_GOAL := figures
.PHONY: figures quick report setup test test-oracle oracle test-cuda cuda test-gpu test-slurm test-faults fuzz lint format lock clean help

PY     ?= python3
SCALE  ?= default
ARGS   ?=
TORCH  := torch==2.13.0
JAX    := jax>=0.10,<0.11
KERAS  := keras>=3.12,<4
PLUGIN := snakemake-executor-plugin-slurm>=2.8,<3
CUDA   := numba-cuda[cu13]>=0.30.4,<0.31 cuda-toolkit==13.0.*
PTXAS  := cuda-toolkit[nvcc]==13.0.*

VENV   := .venv
PYTHON := $(VENV)/bin/python
READY  := $(VENV)/.ready
REPORT := results/report.zip
# Says at which scale, and when, the report was made last.
STAMP  := results/.report-$(SCALE)

# Jobs that Snakemake starts find the environment's `python` and `recurlab` first, and no module of the caller's.
SNAKEMAKE = PATH="$$PWD/$(VENV)/bin:$$PATH" $(PYTHON) -m snakemake --config scale=$(SCALE)
unexport PYTHONPATH PYTHONHOME

figures: $(READY)  ## every table, figure and verdict, then the report (the default; SCALE=default|quick|paper)
	@echo "== figures at scale $(SCALE): only what is missing or out of date is computed"
	@$(SNAKEMAKE)
	@$(MAKE) --no-print-directory report SCALE=$(SCALE)

quick:  ## the same with few seeds: a first look, and what CI runs
	@$(MAKE) --no-print-directory figures SCALE=quick

report: $(READY)  ## results/report.zip, if any result is newer than it
	@if [ -f $(REPORT) ] && [ -f $(STAMP) ] && [ -z "$$(find results -type f -newer $(STAMP) | head -n 1)" ]; then \
	    echo "== $(REPORT) is up to date (scale $(SCALE)): nothing to do"; \
	else \
	    echo "== writing $(REPORT)" && \
	    $(SNAKEMAKE) --report $(REPORT) && \
	    rm -f results/.report-* && touch $(STAMP); \
	fi

setup: $(READY)  ## the environment alone, in .venv

$(READY): requirements.lock pyproject.toml
	@"$(PY)" -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else 1)' || \
	    { echo "recurlab needs Python 3.11 or newer; '$(PY)' is $$("$(PY)" --version 2>&1). Try: make PY=python3.12" >&2; exit 1; }
	@$(PYTHON) -c '' 2>/dev/null || { \
	    echo "== making the environment in $(VENV): about a minute and 1.1 GB, once"; "$(PY)" -m venv --clear $(VENV); } || \
	    { echo "No venv here: on Debian or Ubuntu, apt install python3-venv" >&2; exit 1; }
	@echo "== installing the locked packages"
	@$(PYTHON) -m pip install -qq --disable-pip-version-check --require-hashes -r requirements.lock
	@echo "== installing recurlab itself, editable"
	@$(PYTHON) -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

test: $(READY)  ## the test suite; what was left out is printed with its reason (ARGS="-k lstm" selects)
	@$(PYTHON) -m pytest -n auto $(ARGS)

oracle: $(READY)  ## torch, JAX and Keras, into the environment, if they are not there
	@$(PYTHON) -c 'import torch' 2>/dev/null || { echo "== installing $(TORCH)"; \
	    $(PYTHON) -m pip install -qq --disable-pip-version-check "$(TORCH)"; }
	@$(PYTHON) -c 'import jax' 2>/dev/null || { echo "== installing $(JAX)"; \
	    $(PYTHON) -m pip install -qq --disable-pip-version-check "$(JAX)"; }
	@$(PYTHON) -c 'import importlib.util as i; assert i.find_spec("keras")' 2>/dev/null || { echo "== installing $(KERAS)"; \
	    $(PYTHON) -m pip install -qq --disable-pip-version-check "$(KERAS)"; }

test-oracle: oracle  ## against torch, JAX and Keras; with RECURLAB_DATA=FOLDER also on the real corpora
	@$(PYTHON) -m pytest -m "oracle$${RECURLAB_DATA:+ or data}" $(ARGS)

test-faults: $(READY)  ## runs that are killed, starved and misled, and resumed; root also has full disks (ARGS="-k disk")
	@$(PYTHON) -m pytest -m faults $(ARGS)

fuzz: $(READY)  ## 10,000 damaged files for every reader, guided by atheris if that is installed (ARGS="--inputs 500 arpa")
	@$(PYTHON) tests/fuzz.py $(ARGS)

test-slurm: $(READY)  ## on a Slurm of two virtual nodes that is started for it (root; INSTALL=1 installs Slurm with apt)
	@if [ -n "$(INSTALL)" ]; then apt-get install -y --no-install-recommends slurm-wlm munge; fi
	@$(PYTHON) -c 'import snakemake_executor_plugin_slurm' 2>/dev/null || { echo "== installing $(PLUGIN)"; \
	    $(PYTHON) -m pip install -qq --disable-pip-version-check "$(PLUGIN)"; }
	@RECURLAB_SLURM=1 $(PYTHON) -m pytest -m slurm tests/test_slurm.py $(ARGS)

cuda: $(READY)  ## the compiler for GPUs, into the environment, if it is not there (0.7 GB)
	@$(PYTHON) -c 'import numba_cuda; from importlib.metadata import version; version("nvidia-cuda-nvcc")' 2>/dev/null || { \
	    echo "== installing $(CUDA) $(PTXAS)"; \
	    $(PYTHON) -m pip install -qq --disable-pip-version-check $(foreach package,$(CUDA) $(PTXAS),"$(package)"); }

test-cuda: cuda  ## compiles every kernel for GPUs and looks at what it takes: registers, memory, instructions
	@$(PYTHON) -m pytest -m cuda -n auto $(ARGS)

test-gpu: $(READY)  ## on a GPU, against the CPU and cuDNN (needs `make cuda oracle`); without one it says why
	@$(PYTHON) -m pytest -m gpu $(ARGS)

lint: $(READY)  ## style, formatting and the floors that imports may cross
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m snakefmt --check Snakefile workflow
	@$(PYTHON) -c 'from importlinter.cli import lint_imports_command as run; run()'

format: $(READY)  ## rewrites Python and Snakemake files in the house format
	@$(PYTHON) -m ruff check --fix .
	@$(PYTHON) -m ruff format .
	@$(PYTHON) -m snakefmt Snakefile workflow

lock:  ## for maintainers: resolves requirements.lock anew (needs uv)
	uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --fork-strategy fewest --generate-hashes -o requirements.lock

clean:  ## removes the environment, caches and all results but results/published
	@echo "== removing $(VENV), caches and generated results"
	@rm -rf $(VENV) .snakemake .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist
	@find . -name .git -prune -o -type d -name __pycache__ -prune -exec rm -rf {} +
	@find results -mindepth 1 -maxdepth 1 ! -name README.md ! -name published -exec rm -rf {} +

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' Makefile
