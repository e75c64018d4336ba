# Needs Python 3.10 to 3.13 with venv, and make. Everything else goes into $(VENV).
PYTHON ?= python3
VENV ?= .venv
# The versions that the tests last passed with; `make install CONSTRAINTS=` takes the newest instead.
CONSTRAINTS ?= constraints.txt
DEMO_ARGS ?=
# Python:constraints; behind 3.13 there are none, so that it takes the newest of everything.
MATRIX ?= 3.10:constraints-oldest.txt 3.11:constraints.txt 3.12:constraints.txt 3.13:

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip -qq
STAMP := $(VENV)/.installed

.PHONY: install test coverage lint typecheck demo docs conformance test-matrix clean help

help:  ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

install: $(STAMP)  ## create $(VENV) with this package, RecBole and the development tools

# One resolution for everything, so that torch and torchvision fit each other; RecBole after it and without its pins,
# which cannot be met (see setup.cfg).
$(STAMP): setup.cfg setup.py pyproject.toml $(CONSTRAINTS)
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if v >= (3, 10) else \
	"$(PYTHON) is Python %d.%d, and 3.10 or newer is needed: make install PYTHON=python3.11" % v[:2])'
	$(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV): about two minutes on a fast line, and 6.3 GB, most of it torch's CUDA libraries"
	$(PIP) install --upgrade pip
	$(PIP) install --editable '.[dev]' $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS))
	$(PIP) install --no-deps recbole==1.2.1
	@touch $@

test: lint typecheck  ## install, check style and types, run the tests
	$(BIN)/python -m pytest -q -n auto --dist worksteal

coverage: install  ## run the tests, list the lines of the package that none runs, fail below 90 %
	$(BIN)/python -m pytest -q -n auto --dist worksteal --cov --cov-report=term --cov-fail-under=90

lint: install  ## check style
	$(BIN)/ruff check .

typecheck: install  ## check types
	$(BIN)/mypy

demo: install  ## install, then pictures in, a trained and evaluated PixelSASRec out; DEMO_ARGS="--epochs 2" for less
	$(BIN)/recbole-pixel demo $(DEMO_ARGS)

docs: install  ## build the API reference, build/docs/index.html, from the docstrings
	$(BIN)/python docs/reference.py build/docs

conformance: install  ## run RecBole's own tests with the plugin; RECBOLE_CHECKOUT=folder of its 1.2.1 source
	RECBOLE_CHECKOUT="$(RECBOLE_CHECKOUT)" $(BIN)/python -m pytest -q tests/conformance

# A Python is pythonX.Y on the path, or else pyenv's newest X.Y.
test-matrix:  ## install and test with each Python of $(MATRIX) that is here, in a venv of its own that is removed after
	@passed=; absent=; \
	for entry in $(MATRIX); do \
	    version=$${entry%%:*}; \
	    for python in python$$version \
	        "$$(ls -d "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/$$version.*/bin/python 2>/dev/null | sort -V | tail -1)"; do \
	        "$$python" -c '' 2>/dev/null && break; python=; \
	    done; \
	    if [ -z "$$python" ]; then echo "Python $$version is not on this machine: skipped"; absent="$$absent $$version"; continue; fi; \
	    echo "== Python $$version, $${entry#*:}"; \
	    $(MAKE) install PYTHON="$$python" VENV=.venv-$$version CONSTRAINTS=$${entry#*:} || exit 1; \
	    RECBOLE_CHECKOUT="$(RECBOLE_CHECKOUT)" .venv-$$version/bin/python -m pytest -q -n auto --dist worksteal || exit 1; \
	    rm -rf .venv-$$version; \
	    passed="$$passed $$version"; \
	done; \
	echo "== passed:$${passed:- none}; not on this machine:$${absent:- none}"; \
	[ -n "$$passed" ]

clean:  ## remove $(VENV) and what builds and checks leave behind
	rm -rf $(VENV) .venv-3.* build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache
