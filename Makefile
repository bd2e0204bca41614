# make demo   set up, index the example photos with the bundled models, find copies, group people, report
# make test   set up, run all tests; unit tests that passed on just these files are not run again
# make check  format, lint, types, import contracts, unit tests
# make audit  known advisories of the pinned packages, asked of PyPI; a step of each release
# make bench  speed, parity, accuracy and memory (FACELAKE_DATA names the research photos)

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# what was tested is not tested again until a file changes: check and test share the unit tests
UNIT := $(VENV)/.unit-passed
FILES := $(shell git ls-files -co --exclude-standard 2>/dev/null || find . -name '*.py' -not -path './.venv/*')
# unit and browser tests run on all cores, and beside them those that share one Ray, one by one:
# two jobs at once may take all of its cores for their actors, and wait for each other
PARALLEL ?= --numprocesses auto --dist worksteal
# one thread a process: tests and workers share the cores among processes, not inside them
export OMP_NUM_THREADS ?= 1
# compiled modules are kept: the processes that tests start would compile them again and again
export PYTHONDONTWRITEBYTECODE :=

.PHONY: setup demo test tests-with-ray tests-without check audit bench format clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; name it: make PYTHON=...") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch --editable '.[dev]'
	touch $@

demo: setup
	$(BIN)/facelake demo --output demo-lake
	$(BIN)/python examples/read_faces.py demo-lake

test: setup
	$(MAKE) --jobs 2 --output-sync=line tests-with-ray tests-without

tests-with-ray: setup
	$(BIN)/python -m pytest --durations 10 tests/integration

tests-without: $(UNIT)
	$(BIN)/python -m pytest $(PARALLEL) --durations 10 tests/property tests/browser

$(UNIT): $(READY) $(wildcard $(FILES))
	$(BIN)/python -m pytest $(PARALLEL) --durations 10 tests/unit
	touch $@

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) $(UNIT)

# pip-audit stays apart from what it looks at: its own dependencies are none of ours
audit:
	@$(PYTHON) -m venv .audit && .audit/bin/pip install --quiet --disable-pip-version-check 'pip-audit>=2.10,<3' \
	  || { echo 'NOT AUDITED: pip-audit cannot be installed here; run make audit where PyPI can be reached'; exit 0; }; \
	$(PYTHON) benchmarks/audit.py .audit/bin/pip-audit constraints.txt

bench: setup
	$(BIN)/python -m benchmarks.all

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) .audit demo-lake build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
