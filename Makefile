# The commands of README.md. The first one that you run installs everything into .venv.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo dev test campaign benchmark lint clean

demo: .venv/installed
	@$(BIN)/cdr demo

dev: .venv/installed
	@$(BIN)/cdr dev

test: .venv/installed-test lint
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadgroup --no-loadscope-reorder

campaign: .venv/installed-test
	$(BIN)/python -m pytest -m campaign

benchmark: .venv/installed-benchmark
	$(BIN)/python -m benchmarks.backfill

lint: .venv/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Keep data/README.md: it belongs to the repository.
clean:
	rm -rf .venv
	find data -mindepth 1 ! -path data/README.md -delete

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed: pyproject.toml constraints.txt | .venv/bin/python
	@echo "Installing into .venv, about a minute:"
	@$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e .
	@touch $@

.venv/installed-benchmark: pyproject.toml constraints.txt | .venv/bin/python
	@$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[benchmark]'
	@touch $@ .venv/installed

.venv/installed-test: pyproject.toml constraints.txt | .venv/bin/python
	@$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@ .venv/installed
