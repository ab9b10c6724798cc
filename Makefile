# Each target works on a fresh machine: it makes its own virtual environment first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Two workers with one thread each: torch's own threads would fight over two cores.
WORKERS ?= 2
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal
MARKED := slow or distributed or browser or network

.PHONY: help table1 test test-all test-marked test-matrix fuzz fuzz-long lint paper paper-table clean

help:
	@echo "make table1       set up, then Table I in its quick form (minutes)"
	@echo "make test         set up, then the tests that a change can break (minutes)"
	@echo "make test-all     the same, then the tests marked slow, distributed, browser, network"
	@echo "make test-matrix  every combination of what the tests above only sample"
	@echo "make fuzz         set up, then random input to every door (under a minute)"
	@echo "make fuzz-long    the same with ten times as many cases, other ones each time"
	@echo "make lint         set up, then ruff, mypy and import-linter"
	@echo "make paper        set up, then every table and claim of the paper (many hours)"
	@echo "make paper-table  set up, then Table I in full (about an hour on 2 cores)"

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[all]' --group dev
	@touch $(STAMP)

table1: $(STAMP)
	$(BIN)/python -m benchmarks table1 --quick

paper-table: $(STAMP)
	$(BIN)/python -m benchmarks table1 --seeds 10

paper: $(STAMP)
	$(BIN)/python -m benchmarks paper

test: $(STAMP)
	$(PYTEST) -m "not ($(MARKED) or exhaustive)" --ignore tests/fuzz

test-marked: $(STAMP)
	$(PYTEST) -m "($(MARKED)) and not exhaustive"

test-all: test test-marked fuzz

test-matrix: $(STAMP)
	$(PYTEST) -m exhaustive

fuzz: $(STAMP)
	$(PYTEST) tests/fuzz

fuzz-long: $(STAMP)
	FUZZ_EXAMPLES=10 $(PYTEST) tests/fuzz

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) build dist *.egg-info
