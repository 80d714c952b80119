# Every target makes what it needs. ARGS passes on to the command: make test ARGS="-k links"

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
STAMP := $(VENV)/installed-from

.DEFAULT_GOAL := help
.PHONY: help venv test lint demo bench figures simulate clean elsewhere

# List the targets.
help:
	@awk '/^# / { text = substr($$0, 3) } /^[a-z]+:/ && text { sub(":.*", ""); printf "make %-8s %s\n", $$0, text; text = "" }' Makefile

# Make .venv with everything installed, when it is missing or setup.cfg has changed.
venv: $(STAMP)

# Run every test. A few minutes on two cores.
test: $(STAMP)
	$(RUN) -m pytest $(ARGS)

# Check style, types and the directions of imports.
lint: $(STAMP)
	$(RUN) -m ruff check
	$(RUN) -m mypy
	$(RUN) -m tests.import_directions

# Count words on three nodes while one of them is killed. FOLDER=... counts another folder than the standard library.
demo: $(STAMP)
	$(RUN) -m examples.wordcount $(if $(FOLDER),"$(FOLDER)") $(ARGS)

# Measure, beside gevent's own floor and Pykka: JSON lines and a table.
bench: $(STAMP)
	$(RUN) -m benchmarks $(ARGS)

# Redraw the papers' figures, of Partisan beside Erlang and of overlays: docs/figures.md. ARGS="--wan FILE" delays loopback.
figures: $(STAMP)
	$(RUN) -m benchmarks.figures $(ARGS)

# Run scenarios in virtual time, by seeds. ARGS="--seed 7 calls" replays one; "--runs 1000" is a long campaign.
simulate: $(STAMP)
	$(RUN) -m partisan_actors.testing $(if $(ARGS),$(ARGS),--runs 20)

# Remove .venv and everything else that was made.
clean:
	rm -rf $(VENV) build dist *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp names its checkout: the .venv of one that was copied or moved still points at the old place.
ifneq ($(shell cat $(STAMP) 2>/dev/null),$(CURDIR))
$(STAMP): elsewhere
endif

$(STAMP): setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "partisan_actors needs Python 3.11 or newer, and $(PYTHON) is " + sys.version.split()[0] + ". Name another one: make PYTHON=python3.12 venv")'
	@echo "Making $(VENV) with `$(PYTHON) --version`; the next time this is skipped."
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip --disable-pip-version-check install --editable ".[all]"
	@echo "$(CURDIR)" > $(STAMP)
	@echo "$(VENV) is ready."
