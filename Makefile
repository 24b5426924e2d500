# make demo    the whole story on made-up videos
# make test    the tests
# make check   all that a change must pass
# make docs    the pages as a site, in build/site
# make gpu     on a machine with a GPU: tests there, and what it gives, into benchmarks/results
# make torture tries to break every promise of docs/reliability.md, for hours; goes on where it was
#
# The first run makes a virtual environment in .venv and installs constraints.txt into it; later
# runs install nothing. PYTHON=python3.12 picks another interpreter.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed
SITE := .venv/site
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install --constraint constraints.txt

.PHONY: demo test check docs gpu torture

demo: $(INSTALLED)
	$(BIN)/vidssl demo --out demo --overwrite

test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --quiet --numprocesses 2

check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --quiet --numprocesses 2

# A link that leads nowhere, or a docstring that cannot be read, ends it. The theme tells of its own future.
docs: $(SITE)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict

# It takes about ten minutes; FAISS for the CPU is replaced by that for GPUs.
gpu: $(INSTALLED)
	@$(BIN)/python -c 'import faiss; faiss.StandardGpuResources' 2>/dev/null || \
	    { $(BIN)/python -m pip uninstall --quiet --yes faiss-cpu && $(PIP) faiss-gpu; }
	$(BIN)/vidssl doctor
	$(BIN)/python -m pytest --quiet -m gpu tests
	videos=$$(mktemp -d) && $(BIN)/vidssl data synth --out $$videos/videos && \
	    $(BIN)/vidssl data pack $$videos/videos --out $$videos/packed && \
	    $(BIN)/python benchmarks/gpu.py --data $$videos/packed --out benchmarks/results; \
	    status=$$?; rm -rf $$videos; exit $$status

# ARGS="kill --case 17" runs one case again; see tests/torture.
torture: $(INSTALLED)
	OMP_NUM_THREADS=1 PYTHONPATH=tests $(BIN)/python -m torture $(ARGS)

# torch comes first, so that nothing drags in another version, and with it the build tools, so that
# the last line needs no network once everything is there.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; \
	    v >= (3, 11) or sys.exit("vidssl needs Python 3.11 or newer; set PYTHON")'
	@echo "installing into .venv, once; this takes a few minutes"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(PIP) torch hatchling editables
	@$(PIP) --no-build-isolation --editable '.[dev]'
	@touch $@

$(SITE): $(INSTALLED)
	@$(PIP) --no-build-isolation --editable '.[docs]'
	@touch $@
