.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
LOCK := $(BIN)/uv pip compile -q --universal --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links --python-version 3.11

.PHONY: help install run test check format lock bench chaos clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/runtime: requirements.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing the locked packages into .venv (about a minute the first time)" >&2
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.venv/dev: requirements-dev.lock .venv/runtime
	@echo "installing the locked development tools into .venv" >&2
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

install: .venv/runtime ## make .venv from the hashed lock

run: .venv/runtime ## start the whole system in this terminal, on embedded parts
	@exec $(BIN)/customers up

test: .venv/dev ## every test; the header says which Postgres and which Kafka served
	@$(BIN)/python -m pytest -n 2 --dist loadfile

check: .venv/dev ## format, lint, types, import rules: the same here and in CI
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/dev ## rewrite files to the format that `check` asks for
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: .venv/dev ## resolve pyproject.toml into the two lock files again
	$(LOCK) --extra embedded --extra build --extra traces --extra parquet -o requirements.lock pyproject.toml
	$(LOCK) --extra embedded --extra build --extra traces --extra parquet --extra dev -c requirements.lock -o requirements-dev.lock pyproject.toml

bench: .venv/dev ## the benchmark, in ratios to a bare handler (SIZE=10000 by default)
	@$(BIN)/python -m benchmarks --size $(or $(SIZE),10000) $(ARGS)

chaos: .venv/dev ## load under which everything is killed, then the proof (MINUTES=4, SEED=random)
	@$(BIN)/python -m tests.chaos --minutes $(or $(MINUTES),4) $(if $(SEED),--seed $(SEED)) $(ARGS)

clean: ## remove .venv and caches
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis
