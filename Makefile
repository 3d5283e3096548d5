# On a fresh machine:
#   make demo   creates .venv, installs, detects events in the bundled recording
#   make grid   creates .venv, installs, runs the default grid on synthetic data
#   make test   creates .venv, installs, runs the tests
# Needs Python 3.11, 3.12 or 3.13 (make PYTHON=python3.12 ... picks one). ARGS goes to the command.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo grid test tables lint docs clean

demo: $(VENV)/installed
	$(BIN)/python -m crnn_weak demo $(ARGS)

grid: $(VENV)/installed
	$(BIN)/python -m crnn_weak.experiments.loss_weight_grid $(ARGS)

test: $(VENV)/installed-dev
	$(BIN)/python -m pytest $(ARGS)

# For published tables and the tests that need more packages; skipped, with the reason, where these cannot be built.
tables: $(VENV)/installed-dev
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --requirement requirements-tables.txt || \
	  echo "tables: skipped, requirements-tables.txt cannot be installed (see pip's message above)"

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Skipped, with the reason, where the packages cannot be installed.
docs: $(VENV)/installed
	@if $(BIN)/python -m pip install --disable-pip-version-check --quiet --retries 1 --timeout 60 --requirement requirements-docs.txt; then \
	  NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict && echo "Open $(CURDIR)/build/docs/index.html"; \
	else \
	  echo "docs: skipped, requirements-docs.txt cannot be installed (see pip's message above)"; \
	fi

$(VENV)/installed: requirements.txt setup.py
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else "Python 3.11 to 3.13 is needed, this is " + sys.version.split()[0] + ": make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-compile --requirement requirements.txt
	@# On all CPUs, where pip compiles on one. Some packages hold templates that are no Python, hence the dash.
	-@$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --editable .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed requirements-dev.txt
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --requirement requirements-dev.txt
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
