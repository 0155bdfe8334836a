# Two commands to start with: `make run`, `make test`. CI calls `make test`.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test test-all lint bench docs clean

.venv/installed: requirements.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

.venv/installed-dev: .venv/installed pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

# The whole path, a command a step; the registry it fills is runs/registry.
run: export LEPTON_JAX_REGISTRY = runs/registry
run: .venv/installed
	$(BIN)/python launch.py train --config=configs/digits_cnn.py --workdir=runs/digits
	$(BIN)/python launch.py export --workdir=runs/digits --out=runs/digits/bundle
	$(BIN)/python launch.py verify --bundle=runs/digits/bundle
	$(BIN)/python launch.py register --bundle=runs/digits/bundle --model=digits
	$(BIN)/python launch.py registry gate --model=digits --require='test/accuracy>=0.98'
	$(BIN)/python launch.py promote --model=digits --to=staging
	$(BIN)/python launch.py predict --model=digits@staging --examples=4
	@echo
	@echo "The record is in runs/digits (config, metrics, curves.png, checkpoints), the bundle in"
	@echo "runs/digits/bundle, the registry in runs/registry. Try next:"
	@echo "  $(BIN)/python launch.py train --config=configs/digits_cnn.py --workdir=runs/sgd \\"
	@echo "      --config.optimizer.name=sgd --config.optimizer.learning_rate=0.1"
	@echo "  $(BIN)/python launch.py runs runs"
	@echo "  $(BIN)/python launch.py --help"

lint: .venv/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest -q -n 2 --dist loadscope

# Goes on where it was stopped: a folder of tests that passed on these very files is not run again.
test-all: lint
	$(BIN)/python -m tests.parts

bench: .venv/installed-dev
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.packing

.venv/installed-docs: .venv/installed pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[docs]'
	touch $@

# The pages of docs/ as a site in site/, by mkdocs.yml. A dead link is an error.
docs: export NO_MKDOCS_2_WARNING = 1
docs: .venv/installed-docs
	$(BIN)/mkdocs build --strict --quiet
	@echo "Open site/index.html, or $(BIN)/python -m http.server -d site to search as well"

clean:
	rm -rf .venv runs site
