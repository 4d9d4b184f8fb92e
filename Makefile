# Every target sets up what it needs, so each works alone on a fresh Debian with python3 and make.

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
SOURCES := src tests benchmarks tools
# Workers for pytest: one for each core.
JOBS ?= auto

.PHONY: help demo known-bases test check format bench fuzz zoo docs lock clean

help:
	@echo "make demo    fetch two real models and audit them"
	@echo "make test    run every check and test"
	@echo "make check   run the checks without the tests"
	@echo "make format  format the code and fix what can be fixed"
	@echo "make bench   run the benchmarks and write docs/benchmarks.md"
	@echo "make fuzz    10,000 mutations for each reader, 1,000 for each whole audit"
	@echo "make zoo     score lineage on models made from nothing (hours), write docs/lineage-report.md"
	@echo "make known-bases  build the registry of known bases that ships"
	@echo "make docs    build the user guide into site/"
	@echo "make lock    pin every dependency to its newest version"

$(VENV)/.base: pyproject.toml constraints.txt tools/setup.sh
	sh tools/setup.sh $(PYTHON) $(VENV) base

$(VENV)/.dev: $(VENV)/.base
	sh tools/setup.sh $(PYTHON) $(VENV) dev

$(VENV)/.docs: $(VENV)/.base
	sh tools/setup.sh $(PYTHON) $(VENV) docs

demo: $(VENV)/.base
	$(BIN)/python -m tools.demo

test: check
	OPENBLAS_NUM_THREADS=1 $(BIN)/pytest -n $(JOBS)

check: $(VENV)/.dev
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(VENV)/.dev
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

bench: $(VENV)/.dev
	$(BIN)/python benchmarks/digests.py
	$(BIN)/python benchmarks/sealing.py
	$(BIN)/python benchmarks/audit_size.py
	$(BIN)/python benchmarks/hook.py
	$(BIN)/python benchmarks/compute.py
	$(BIN)/python benchmarks/pickle_scanning.py --peers
	$(BIN)/python benchmarks/lineage_null.py
	$(BIN)/python benchmarks/lineage_search.py
	$(BIN)/python benchmarks/lineage_cost.py
	$(BIN)/python benchmarks/lineage_peers.py
	taskset -c 0 $(BIN)/python benchmarks/rules.py

fuzz: $(VENV)/.dev
	STEELYARD_FUZZ=10000 $(BIN)/pytest tests/fuzz -n $(JOBS)

$(VENV)/.zoo: $(VENV)/.dev
	sh tools/setup.sh $(PYTHON) $(VENV) zoo

zoo: $(VENV)/.zoo
	$(BIN)/python benchmarks/lineage_accuracy.py

known-bases: $(VENV)/.base
	$(BIN)/python -m tools.known_bases

docs: $(VENV)/.docs
	$(BIN)/python -m tools.rule_pages
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "the guide is in site/index.html"

lock: $(VENV)/.base
	sh tools/setup.sh $(PYTHON) $(VENV) lock

clean:
	rm -rf $(VENV) build dist site demo
