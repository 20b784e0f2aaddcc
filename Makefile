# The commands of README.md. The first one that you run installs everything into .venv.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo dev test campaign benchmark lint lock clean

demo: .venv/installed
	@$(BIN)/cdr demo

dev: .venv/installed
	@$(BIN)/cdr dev

test: .venv/installed-test lint
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --no-loadscope-reorder

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

# pip compares each package with the hashes in requirements/. It cannot do that for a checkout, so the project comes
# second, with a build backend that is installed already. The locks are complete: --no-deps spares pip the search.
PIP := $(BIN)/python -m pip --disable-pip-version-check install
LOCKED := $(PIP) --no-deps --require-hashes -r
PROJECT := $(PIP) --quiet --no-deps --no-build-isolation -e .

.venv/installed: pyproject.toml requirements/run.txt | .venv/bin/python
	@echo "Installing into .venv, about a minute:"
	@$(LOCKED) requirements/run.txt
	@$(PROJECT)
	@touch $@

.venv/installed-test: pyproject.toml requirements/test.txt | .venv/bin/python
	@$(LOCKED) requirements/test.txt
	@$(PROJECT)
	@touch $@ .venv/installed

# What it compares with is not locked; pip keeps the installed versions of all else.
.venv/installed-benchmark: .venv/installed
	@$(PIP) --no-build-isolation -e '.[benchmark]'
	@touch $@

# Writes requirements/ after a change of pyproject.toml; versions stay where they can. `make lock LOCK=--upgrade` takes the
# newest ones. The files hold the hashes of all platforms' packages, for Python 3.11 and later.
COMPILE := .venv/lock/bin/uv pip compile pyproject.toml --group build --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-annotate --no-header --quiet

lock: .venv/lock/bin/uv
	$(COMPILE) $(LOCK) --extra test --output-file requirements/test.txt
	$(COMPILE) --constraint requirements/test.txt --output-file requirements/run.txt

.venv/lock/bin/uv: | .venv/bin/python
	$(PYTHON) -m venv .venv/lock
	.venv/lock/bin/python -m pip --disable-pip-version-check install --quiet uv
