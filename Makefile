# Two commands to start with: `make run`, `make test`. CI calls `make test`.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test test-all lint bench clean

.venv/installed: requirements.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

.venv/installed-dev: .venv/installed pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

run: .venv/installed
	$(BIN)/python docs/first_run.py

lint: .venv/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest -q -n 2 --dist loadscope

test-all: lint
	$(BIN)/python -m pytest -q -m ''

bench: .venv/installed-dev
	$(BIN)/python -m benchmarks

clean:
	rm -rf .venv runs
