# Every target makes its own environment in .venv. `make demo` and `make test` are all a newcomer needs.
PYTHON ?= python3
# Where pip finds torch: the URL of PyTorch's index for your build; empty where the default index already has it.
TORCH_INDEX ?=
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --constraint constraints.txt $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
# One thread per process: tensors of a few dozen atoms gain nothing from more, and threads that wait for each other on a
# busy machine lose much.
ONE_THREAD := OMP_NUM_THREADS=1
WORKERS ?= 2
# Labelled crystals for `make bench`: any extxyz file; by default 1 000 frames of MPtrj in the folder of public data sets.
FRAMES ?= $(GROUNDSTATE_DATA)/mptrj_sample/mptrj-random-1k.xyz

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow check bench clean

help:  ## What can be made
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*## /\t/' | expand -t 14

.venv/demo: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) --editable '.[chgnet,train]'
	@touch $@

.venv/test: .venv/demo
	$(PIP) --editable '.[chgnet,train,pymatgen,test]'
	@touch $@

demo: .venv/demo  ## MgO and SrTiO3 from a file to a fine-tuned potential and a report (minutes)
	$(ONE_THREAD) $(BIN)/python examples/oxides/study.py --output demo

check: .venv/test  ## Style, floors, types: no test is run
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

test: check  ## The whole suite but the slow tests
	$(ONE_THREAD) $(BIN)/python -m pytest -m "not slow" --numprocesses $(WORKERS) --durations 10

test-slow: .venv/test  ## Exhaustive checks (GROUNDSTATE_DATA names the folder of public data sets)
	$(ONE_THREAD) $(BIN)/python -m pytest -m slow --durations 10

bench: .venv/test  ## Parity and speed against the peers that install here, on FRAMES; the table of laws
	$(ONE_THREAD) $(BIN)/python benchmarks/chgnet_parity.py $(FRAMES)
	$(ONE_THREAD) $(BIN)/python benchmarks/relax_parity.py $(FRAMES)
	$(ONE_THREAD) $(BIN)/python benchmarks/laws_table.py

clean:  ## Remove what was made
	rm -rf .venv demo build src/*.egg-info
