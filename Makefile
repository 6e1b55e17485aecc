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

# Offline; any warning is an error. The variable takes away a notice about the theme's successor.
SITE = NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

.PHONY: help demo test ui lint lint-types lint-rest docs format clean

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

lint: $(INSTALLED)  ## check style, types, who imports whom, and the documents
	@$(MAKE) --no-print-directory --jobs=2 lint-types lint-rest

# One core each: types take as long as all the rest.
lint-types:
	$(BIN)/mypy

lint-rest:
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/dg check defs
	$(BIN)/python docs/generate.py --check
	$(SITE)

docs: $(INSTALLED)  ## write the reference from the code, and the site of all documents into build/site
	$(BIN)/python docs/generate.py
	$(SITE)

format: $(INSTALLED)  ## put the code into the house style
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The lake that LAION_LAKE names, and of the rest only what lies in this checkout: a source or a DAGSTER_HOME elsewhere
# may be anybody's.
define CLEAN
set -eu
here=$$(pwd -P)
lake=$${LAION_LAKE#file://}
case $$lake in "~/"*) lake=$$HOME/$${lake#"~/"} ;; esac
refuse() { echo "make clean: $$1; nothing was removed" >&2; exit 1; }
is_lake() { [ -f "$$1/lake.json" ] || ls -d "$$1"/*/_delta_log >/dev/null 2>&1; }
set --
case $$lake in
*://*) echo "left alone: $$lake is not on this machine" ;;
*)
    if [ -L "$${lake%/}" ]; then
        refuse "LAION_LAKE=$$lake is a link: remove what it leads to by hand"
    elif [ -d "$$lake" ]; then
        lake=$$(cd "$$lake" && pwd -P)
        case $$here/ in "$${lake%/}"/*) refuse "LAION_LAKE=$$lake holds this checkout" ;; esac
        case $${HOME:-/}/ in "$${lake%/}"/*) refuse "LAION_LAKE=$$lake holds your home folder" ;; esac
        [ "$$lake" = "$$here/lake" ] || is_lake "$$lake" || refuse "LAION_LAKE=$$lake is a folder, and no lake"
        set -- "$$lake"
        released=$$(dirname "$$lake")/sample-release
        if [ "$$lake" = "$$here/lake" ] && [ -d "$$released" ] && [ ! -L "$$released" ]; then set -- "$$lake" "$$released"; fi
    fi ;;
esac
for place in "$$LAION_SOURCE" "$$DAGSTER_HOME"; do
    if [ -d "$$place" ] && [ ! -L "$${place%/}" ]; then place=$$(cd "$$place" && pwd -P); fi
    case $$place in
    "$$here/sample-web" | "$$here/.dagster") if [ -d "$$place" ] && [ ! -L "$$place" ]; then set -- "$$@" "$$place"; fi ;;
    *) echo "left alone: $$place is not in this checkout" ;;
    esac
done
[ $$# -gt 0 ] || { echo "there is nothing to remove"; exit 0; }
echo "to be removed, with all that is in them:"
du -sh -- "$$@"
if [ "$${YES:-}" != 1 ]; then
    [ -t 0 ] || refuse "nobody is at a terminal to be asked; make clean YES=1 removes it unasked"
    printf 'remove them? [y/N] '
    read -r answer || answer=
    case $$answer in y | Y | yes | Yes | YES) ;; *) refuse "not confirmed" ;; esac
fi
rm -rf -- "$$@"
endef
export CLEAN

clean:  ## remove what was built, not what was installed; asks first, with YES=1 it does not
	@sh -c "$$CLEAN"
