# The two commands that a newcomer needs: make demo, make test. Everything happens in .venv and in folders of their own.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOCK := requirements/dev.lock
STAMP := $(VENV)/.made-from

# Tests start hundreds of processes: each would compile all modules again, a fifth of its start.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo test checks lint types contracts unit unit-services unit-users unit-bytes unit-rest unit-catalogue docs bench faults clean

help: ## Show this help
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 18

# Without its stamp an environment is not whole: whatever was interrupted while it was made or changed is made anew.
setup: $(STAMP) ## Make .venv and the command .venv/bin/strongroom
$(STAMP): $(LOCK) scripts/write_command.py
	@{ test -e $(STAMP) && $(BIN)/python -m pip --version > /dev/null 2>&1; } || $(PYTHON) -m venv --clear $(VENV) || \
	  { echo "$(PYTHON) cannot make an environment, see above. On Debian or Ubuntu: sudo apt install python3-venv; then again." >&2; exit 1; }
	@rm -f $(STAMP)
	@echo "installing the locked dependencies"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(LOCK)
	@$(BIN)/python scripts/write_command.py
	@cp $(LOCK) $(STAMP)

demo: setup ## Store real documents through the queue, damage one, see it found
	@$(BIN)/python -m workers.demo

test: setup ## Run every check
	@echo "every check, side by side: each says its piece when it is through, the last after some five minutes"
	@$(MAKE) --no-print-directory --keep-going --jobs --output-sync=target types $(PARTS) lint contracts

checks: lint types contracts

lint: setup
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .

types: setup
	@$(BIN)/mypy --no-error-summary

contracts: setup
	@$(BIN)/lint-imports --no-cache

# The tests as five processes, all at once. One starts services and mostly waits for them, one goes through what users do, and one is
# whatever is not in the others, so that nothing can be in none. A part of the engine's tests goes with those of the users: all take as long.
SERVICES := tests/workers
MOVED := $(wildcard tests/storage/test_[a-d]*.py) tests/storage/diff
USERS := tests/end_to_end tests/docs $(MOVED)
CATALOGUE := tests/models tests/tasks tests/storage/backup
BYTES := tests/storage
PARTS := unit-services unit-users unit-bytes unit-rest unit-catalogue
PYTEST = $(BIN)/python -m pytest -q

unit: setup ## Run the tests alone
	@$(MAKE) --no-print-directory --keep-going --jobs --output-sync=target $(PARTS)

unit-services: setup
	@$(PYTEST) -o cache_dir=.pytest_cache/services $(SERVICES)

unit-users: setup
	@$(PYTEST) -o cache_dir=.pytest_cache/users $(USERS)

unit-bytes: setup
	@$(PYTEST) -o cache_dir=.pytest_cache/bytes $(BYTES) $(addprefix --ignore=,$(CATALOGUE) $(MOVED))

unit-catalogue: setup
	@$(PYTEST) -o cache_dir=.pytest_cache/catalogue $(CATALOGUE)

unit-rest: setup
	@$(PYTEST) -o cache_dir=.pytest_cache/rest tests $(addprefix --ignore=,$(SERVICES) $(USERS) $(CATALOGUE) $(BYTES))

docs: setup ## Make the reference pages and .env.example from the code
	@$(BIN)/python -m scripts.reference

bench: setup ## Measure, beside peers and physical limits; one table
	@$(BIN)/python -m bench

faults: setup ## Kill, freeze and flush a real service for an hour; one table
	@$(BIN)/python -m faults

clean: ## Remove .venv and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
