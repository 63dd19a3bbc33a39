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
# 1: the kernels for GPUs run in Triton's interpreter, on a CPU; 0: compiled, on the GPU that is there.
TRITON_INTERPRET ?= 1
# Labelled crystals for `make bench`: any extxyz file; by default 1 000 frames of MPtrj in the folder of public data sets.
FRAMES ?= $(GROUNDSTATE_DATA)/mptrj_sample/mptrj-random-1k.xyz

# What `make bench-speed` compares with, and options of benchmarks/speed/run.py, e.g. SPEED=--quick.
PEERS ?= mace,chgnet,sevenn,nequip
SPEED ?=

# What `make parity` asks for numbers: the python of an environment with mace-torch.
MACE_PYTHON ?=

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-triton check bench bench-speed bench-relax bench-long bench-quantum studies parity clean

help:  ## What can be made
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*## /\t/' | expand -t 14

.venv/demo: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) --editable '.[train]'
	@touch $@

.venv/test: .venv/demo
	$(PIP) --editable '.[chgnet,train,pymatgen,phonons,hdf5,store,lmdb,molecules,xtb,test]'
	@touch $@

.venv/triton: .venv/test
	$(PIP) triton
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

test-triton: .venv/triton  ## Kernels for GPUs, in Triton's interpreter (minutes); TRITON_INTERPRET=0 on a GPU
	$(ONE_THREAD) TRITON_INTERPRET=$(TRITON_INTERPRET) $(BIN)/python -m pytest tests/equivariant/triton_kernels --durations 10

bench: .venv/test  ## Parity with the peers that install here, on FRAMES; the table of laws; bench-speed
	$(ONE_THREAD) $(BIN)/python benchmarks/chgnet_parity.py $(FRAMES)
	$(ONE_THREAD) $(BIN)/python benchmarks/relax_parity.py $(FRAMES)
	$(ONE_THREAD) $(BIN)/python benchmarks/properties_parity.py
	$(ONE_THREAD) $(BIN)/python benchmarks/laws_table.py
	$(MAKE) bench-speed

bench-relax: .venv/test  ## 100 crystals relaxed in a batch beside mace-torch through ASE one by one (15 minutes)
	$(ONE_THREAD) $(BIN)/python benchmarks/relax_speed.py --environments .venv-peers --install \
		--torch-index "$(TORCH_INDEX)" --file $(FRAMES) --budget 600

bench-long: .venv/test  ## Hundreds of relaxations with planted faults, killed twice (minutes)
	$(ONE_THREAD) $(BIN)/python benchmarks/long_jobs.py $(FRAMES) --output build/long_jobs

bench-quantum: .venv/test  ## Known values by every engine that is installed here (10 minutes)
	$(ONE_THREAD) $(BIN)/python benchmarks/quantum_reference.py --output build/quantum

studies: .venv/test  ## The studies of the tutorials in full (10 minutes; water for an hour and a half by its own command)
	for study in adsorption framework phonons; do \
		$(ONE_THREAD) $(BIN)/python examples/$$study/study.py --output build/$$study || exit 1; done

bench-speed: .venv/test  ## Speed beside PEERS, each in an environment of its own in .venv-peers (25 minutes)
	$(ONE_THREAD) $(BIN)/python benchmarks/speed/run.py --environments .venv-peers --output build/speed --install \
		--converted --torch-index "$(TORCH_INDEX)" --peers "$(PEERS)" $(SPEED)

parity: .venv/test  ## Numbers of mace-torch again, under MACE_PYTHON (a python that has it), and our models against them
	@test -n "$(MACE_PYTHON)" || { echo "give MACE_PYTHON, the python of an environment with mace-torch"; exit 2; }
	$(ONE_THREAD) $(MACE_PYTHON) tests/golden/make_mace_golden.py build/parity
	MACE_PYTHON="$(MACE_PYTHON)" MACE_CHECKPOINTS=build/parity $(ONE_THREAD) $(BIN)/python -m pytest \
		tests/zoo/test_mace_import.py tests/api/test_parity.py

clean:  ## Remove what was made
	rm -rf .venv demo build src/*.egg-info
