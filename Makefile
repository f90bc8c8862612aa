# Every target sets up what it needs; nothing has to be run before.
#
#   PYTHON=python3.12   the interpreter to build the environment from (default: python3)
#   VENV=.venv          where the environment lies
#   SERVICES=required   a database, broker or browser that does not answer is an error, not a skip
#   SEED=12345          the order of the tests (printed by each run)
#   ARGS="-k otp -x"    more arguments for pytest (test-fast) or for manage.py demo

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast nightly lint types format schema shapes bench lock audit matrix observatory clean
SHELL := /bin/bash

VENV ?= .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9
export PYTHON VENV SERVICES SEED

help:  ## this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
	@sed -n '3,7s/^#   /  /p' $(firstword $(MAKEFILE_LIST))

demo:  ## the example project on 127.0.0.1:8000, with its users; TOUR=1: the whole journey, step by step, then the end
	@scripts/bootstrap demo
	@$(BIN)/python manage.py demo $(if $(TOUR),--tour) $(ARGS)

test:  ## everything: linters, types, floors, all tests on every database that answers, coverage
	@scripts/bootstrap dev
	@$(BIN)/python scripts/run_tests.py

test-fast:  ## the quick tests on SQLite in memory
	@scripts/bootstrap dev
	@$(BIN)/python -m pytest -q -n 2 -m "not services and not slow and not nightly" $(ARGS)

nightly:  ## as `test`, with the long tests and many more Hypothesis examples
	@scripts/bootstrap dev
	@$(BIN)/python scripts/run_tests.py --nightly

lint:  ## ruff, import-linter, bandit, missing migrations
	@scripts/bootstrap dev
	@$(BIN)/python scripts/run_tests.py --only lint

types:  ## mypy --strict
	@scripts/bootstrap dev
	@$(BIN)/python scripts/run_tests.py --only types

format:  ## let ruff put the code in shape
	@scripts/bootstrap dev
	@$(BIN)/python -m ruff check --fix .
	@$(BIN)/python -m ruff format .

schema:  ## renew docs/openapi.yaml, the schema of the example project
	@scripts/bootstrap dev
	@$(BIN)/python manage.py spectacular --validate --fail-on-warn --file docs/openapi.yaml

shapes:  ## the stories on other user models, settings and prefixes
	@scripts/bootstrap dev
	@$(BIN)/python scripts/run_tests.py --only shapes

bench:  ## what it costs, beside its peers; a quick form (their packages go into an environment of their own)
	@VENV=.venv-bench scripts/bootstrap dev
	@.venv-bench/bin/python -m pip install --quiet --requirement benchmarks/requirements.txt
	@.venv-bench/bin/python -m benchmarks --quick $(ARGS)

lock:  ## renew constraints.txt and constraints-demo.txt from pyproject.toml; ARGS=--upgrade: to the newest versions
	@scripts/lock $(UV_VERSION) $(ARGS)

audit:  ## known vulnerabilities in the locked versions; AUDIT=required: an unreachable source is an error
	@scripts/bootstrap dev
	@$(BIN)/python scripts/audit.py

matrix:  ## tox: every Python and Django that is there, the minimum versions, no extras
	@scripts/bootstrap dev
	@scripts/matrix $(BIN)/python $(ARGS)

observatory:  ## the MDN HTTP Observatory over the demo page and the API; needs Node.js 20 and npm
	@scripts/bootstrap dev
	@scripts/observatory install
	@$(BIN)/python -m pytest -q -s tests/real/test_observatory.py $(ARGS)

clean:  ## remove environments, caches and results
	rm -rf .venv .venv-bench .venv-django61 .observatory build dist reports htmlcov .tox .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	rm -f .coverage .coverage.* .venv.lock .venv-bench.lock .venv-django61.lock
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
