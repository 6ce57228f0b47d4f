# Two commands do everything: `make demo` and `make test`. Each installs what it needs into .venv.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
DOCS   ?=
WORKERS ?= $(shell nproc)

.PHONY: demo test test-all check format bench clean
.DEFAULT_GOAL := demo

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { echo "regen needs Python 3.11, 3.12 or 3.13: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/.tests: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,dev]'
	touch $@

# The console's tests drive a browser. Who may install one gets it; others are told, and these tests skip with that reason.
$(VENV)/.browser: | $(VENV)/.installed
	@if command -v chromium >/dev/null || command -v chromium-browser >/dev/null || test -n "$$CHROMIUM"; then :; \
	elif test "$$(id -u)" = 0 && command -v apt-get >/dev/null; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null; \
	else echo "no Chromium: the tests in a browser will be skipped (Debian: apt-get install chromium)"; fi
	touch $@

demo: $(VENV)/.installed  ## index real documents, search them, change them, watch search follow
	$(BIN)/regen demo $(if $(DOCS),'$(DOCS)')

test: $(VENV)/.tests $(VENV)/.browser  ## all tests, in parallel
	$(BIN)/python -m pytest -n $(WORKERS) -m "not slow"

$(VENV)/.tests-all: $(VENV)/.tests
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,dev,test-all]'
	touch $@

test-all: $(VENV)/.tests-all $(VENV)/.browser  ## also the slow ones: the whole living corpus, more crash seeds, MiniLM (needs torch)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup

check: $(VENV)/.tests  ## style, types and the dependency rule
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	PYTHONPATH=src $(BIN)/lint-imports

format: $(VENV)/.tests
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.tests  ## measure, as ratios to the floor of this machine
	$(BIN)/python -m benchmarks.sync --peers
	$(BIN)/python -m benchmarks.sync --store pgvector --rounds 2
	$(BIN)/python -m benchmarks.search --sizes 20000
	$(BIN)/python -m benchmarks.startup
	$(BIN)/python -m benchmarks.counts

clean:
	rm -rf $(VENV) .regen .demo .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
