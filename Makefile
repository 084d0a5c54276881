# What can be done here: make help
# PYTHON names the interpreter .venv is made with; without it the first one that is new enough is taken.

VENV := .venv
BIN := $(VENV)/bin
WORKERS := 4
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: help quickstart install test test-quick chaos lint bench docs slurm slurm-stop databases databases-stop clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

quickstart: $(VENV)/.installed  ## Install Jobmon into .venv and run examples/life_expectancy
	$(BIN)/python examples/life_expectancy/run.py

install: $(VENV)/.installed-dev  ## Install Jobmon and all that its developers need into .venv

test: lint  ## Run every check and every test (as root on Debian with a real Slurm and databases; SLURM=no, DATABASES=no leave them out)
	scripts/with-engines $(BIN)/python -m pytest -n $(WORKERS)

test-quick: $(VENV)/.installed-dev  ## Run the tests that take little time
	$(BIN)/python -m pytest -n $(WORKERS) -m "not slow and not e2e and not slurm and not mariadb and not postgresql"

chaos: $(VENV)/.installed-dev  ## Kill processes and stop databases a thousand times and compare (as root on Debian; CHAOS="--seed N")
	SLURM=no scripts/with-engines $(BIN)/python tests/chaos/chaos.py $(CHAOS)
	SLURM=no JOBMON_CHAOS=1 scripts/with-engines $(BIN)/python -m pytest -n $(WORKERS) tests/chaos/test_fail_points.py

lint: $(VENV)/.installed-dev  ## Check style, types and the directions of imports
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy
	$(BIN)/lint-imports

bench: $(VENV)/.installed-dev  ## Measure the budgets on this machine
	$(BIN)/python -m bench

docs: $(VENV)/.installed-dev  ## Write the pages made from the code, and build the site in build/docs
	$(BIN)/python docs/generate.py
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet -b html docs build/docs
	@echo "The documentation is at build/docs/index.html"

slurm:  ## Bring up a Slurm cluster on this machine (Debian, as root), to try Jobmon on and to test with
	scripts/slurm-up

slurm-stop:  ## Stop that cluster; its jobs are cancelled
	scripts/slurm-down

databases:  ## Bring up a MariaDB and a PostgreSQL on this machine (Debian, as root), to try Jobmon on and to test with
	scripts/databases-up

databases-stop:  ## Stop them; what is in them stays
	scripts/databases-down

clean:  ## Remove .venv, caches and the example's results
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	rm -rf examples/life_expectancy/results
	find . -name .git -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps say what .venv holds; pyproject.toml being newer is the reason to install again.
$(VENV)/.made: scripts/make-venv
	@scripts/make-venv $(VENV) $(PYTHON)
	@touch $@

$(VENV)/.installed: $(VENV)/.made pyproject.toml
	@echo "Installing Jobmon and what the example needs into $(VENV)"
	@$(PIP) --editable '.[server,examples]'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed pyproject.toml
	@echo "Installing the tools for tests and checks into $(VENV)"
	@$(PIP) --upgrade 'pip>=25.1'  # older ones do not know dependency groups
	@$(PIP) --editable '.[server,examples]' --group tests --group lint --group docs
	@touch $@
