# Each target works on a fresh machine: it makes its own virtual environment first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help table1 test lint paper paper-table clean

help:
	@echo "make table1       set up, then Table I in its quick form (minutes)"
	@echo "make test         set up, then all tests"
	@echo "make lint         set up, then ruff and mypy"
	@echo "make paper        set up, then every table and claim of the paper (many hours)"
	@echo "make paper-table  set up, then Table I in full (about an hour on 2 cores)"

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[all]'
	@touch $(STAMP)

table1: $(STAMP)
	$(BIN)/python -m benchmarks table1 --quick

paper-table: $(STAMP)
	$(BIN)/python -m benchmarks table1 --seeds 10

paper: $(STAMP)
	$(BIN)/python -m benchmarks paper

test: $(STAMP)
	$(BIN)/python -m pytest

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) build dist *.egg-info
