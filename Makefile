# Two commands to start with: `make run`, `make test`. CI calls `make test`.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: run graduate production test test-all lint bench docs clean

.venv/installed: requirements.txt setup.py
	@echo "Installing lepton_jax and the 120 packages that it needs into .venv, 1.3 GB: some minutes."
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --disable-pip-version-check -e .
	touch $@

.venv/installed-dev: .venv/installed pyproject.toml
	@echo "Installing what the tests need into .venv: a few minutes."
	$(BIN)/pip install --disable-pip-version-check -e '.[dev]'
	touch $@

# The whole path, a command a step; the registry it fills is runs/registry.
run: export LEPTON_JAX_REGISTRY = runs/registry
run: .venv/installed
	@echo "Training a small network on 1,797 images of digits, then the way to a registered model."
	$(BIN)/lepton train --config=digits_cnn --workdir=runs/digits
	$(BIN)/lepton export --workdir=runs/digits --out=runs/digits/bundle
	$(BIN)/lepton verify --bundle=runs/digits/bundle
	$(BIN)/lepton register --bundle=runs/digits/bundle --model=digits
	$(BIN)/lepton registry gate --model=digits --require='test/accuracy>=0.98'
	$(BIN)/lepton promote --model=digits --to=staging
	$(BIN)/lepton predict --model=digits@staging --examples=4
	@echo
	@echo "The record is in runs/digits (config, metrics, curves.png, checkpoints), the bundle in"
	@echo "runs/digits/bundle, the registry in runs/registry. Three things to do next:"
	@echo
	@echo "Change the recipe, and compare the two runs:"
	@echo "  $(BIN)/lepton train --config=digits_cnn --workdir=runs/sgd \\"
	@echo "      --config.optimizer.name=sgd --config.optimizer.learning_rate=0.1"
	@echo "  $(BIN)/lepton runs diff runs/digits runs/sgd"
	@echo "Ask a question with several runs, which ends in a report to open in a browser:"
	@echo "  $(BIN)/lepton ablate --config=digits_cnn --workdir=runs/rates --seeds=2 \\"
	@echo "      --vary optimizer.learning_rate=5e-4,2e-3"
	@echo "See the other recipes, and try one on generated data:"
	@echo "  $(BIN)/lepton list recipes"
	@echo "  $(BIN)/lepton train --config=shakespeare_gpt:tiny"

# A model's way into production and back, each command with its seconds, in runs/graduate.
graduate: .venv/installed
	$(BIN)/python -m benchmarks.graduate

# A model in production, the world that moves, and the way back to the lab, in runs/production.
production: .venv/installed-dev
	$(BIN)/python -m benchmarks.production

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
