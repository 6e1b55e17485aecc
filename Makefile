# `make demo` and `make test` are all a new user needs; both install what they use into .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# Page faults cost more than the memory they would give back: glibc keeps what torch frees.
export MALLOC_MMAP_THRESHOLD_ = 33554432
export MALLOC_TRIM_THRESHOLD_ = 8000000000
export NO_ALBUMENTATIONS_UPDATE = 1
export DAGSTER_HOME ?= $(CURDIR)/.dagster
export LAION_LAKE ?= $(CURDIR)/lake
export LAION_SOURCE ?= $(CURDIR)/sample-web

# Address of PyTorch's own index of wheels for CPUs; without it comes the usual wheel, which brings CUDA.
TORCH_INDEX ?=

# TIER=default leaves out the tests marked slow; TIER=all runs everything.
TIER ?= default
MARKERS := $(if $(filter all,$(TIER)),,-m "not slow")

.PHONY: help demo test ui lint format clean

help:  ## show the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "make %-8s %s\n", $$1, $$2}'

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else "Python 3.11, 3.12 or 3.13 is needed, this is " + sys.version.split()[0] + ": make PYTHON=python3.11 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(if $(TORCH_INDEX),$(BIN)/python -m pip install --quiet --constraint constraints.txt --index-url $(TORCH_INDEX) torch torchvision)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: $(INSTALLED)  ## build two sample crawls through every stage, as Dagster runs
	$(BIN)/laion demo --lake $(LAION_LAKE) --folder $(LAION_SOURCE)

test: $(INSTALLED)  ## run the tests; TIER=all runs the slow ones too
	$(BIN)/python -m pytest -n 2 --dist worksteal $(MARKERS)

ui: $(INSTALLED)  ## open the Dagster UI on what was built
	$(BIN)/laion ui

lint: $(INSTALLED)  ## check style, types and who imports whom
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/dg check defs

format: $(INSTALLED)  ## put the code into the house style
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## remove what was built, not what was installed
	rm -rf lake sample-web .dagster
