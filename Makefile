# Two commands for a start: `make demo` and `make test`. They need Python 3.11 or newer and nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2

.PHONY: demo test check lint format torture replay bench docs picture node audit dist clean

demo: $(VENV)/run.stamp
	$(BIN)/digestbot demo --dir demo

test: $(VENV)/test.stamp
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup -q

check: lint test

lint: $(VENV)/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/dev.stamp
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

torture: $(VENV)/dev.stamp
	$(BIN)/python -m pytest --torture -m torture -q

# A fortnight of digests to read, card by card: build/replay/. With DIGESTBOT_EMBEDDING_MODEL of both rankers.
replay: $(VENV)/test.stamp
	$(BIN)/python -m tests.benchmarks.replay

bench: bench-drops bench-ranking bench-ranking_speed bench-bounces bench-excerpts bench-render bench-schedule bench-web bench-growth bench-endtoend

bench-%: $(VENV)/bench.stamp
	$(BIN)/python -m tests.benchmarks.bench_$*

# The README's picture, from the demo's real mail: two papers of it, sharp on any screen.
CHROMIUM ?= chromium
picture: $(VENV)/run.stamp
	rm -rf artifacts/demo && mkdir -p artifacts
	$(BIN)/digestbot demo --dir artifacts/demo
	$(CHROMIUM) --headless --no-sandbox --disable-gpu --hide-scrollbars --force-device-scale-factor=1.5 \
		--window-size=680,1010 \
		--screenshot=docs/images/digest.png artifacts/demo/mails/2026-11-17-mira@example.org.html

# docs/reference.md from the code; a test holds it.
docs: $(VENV)/test.stamp
	$(BIN)/python -m tests.reference

# What checks of mails and pages need from npm; tests find it in node_modules and else skip with a reason.
node: node_modules/.stamp
node_modules/.stamp: package.json
	npm install --no-audit --no-fund --ignore-scripts
	touch $@

# Known holes in what is installed; asks the package index's own list, so it needs the real index.
audit: $(VENV)/dev.stamp
	$(BIN)/pip-audit --skip-editable

dist: $(VENV)/dev.stamp
	$(BIN)/python -m build

clean:
	rm -rf $(VENV) build dist demo artifacts node_modules

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "digestbot needs Python 3.11 or newer; say which with: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/run.stamp: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/test.stamp: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[test,semantic,cluster]'
	touch $@ $(VENV)/run.stamp

$(VENV)/dev.stamp: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[test,semantic,cluster,dev]'
	touch $@ $(VENV)/test.stamp $(VENV)/run.stamp

$(VENV)/bench.stamp: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[test,semantic,cluster,bench]'
	touch $@
