# make demo: train the digits VAE.  make test: lint, and the tests of every module.  make test-all: lint and all tests.
# make faults: every fault many times, in about an hour. See docs/testing.md.
# make lock: constraints/pyX.Y.txt, the versions for `pip install -c`; pins that are there and still serve are kept.
# Each makes .venv first; only Python >= 3.11 is needed.
PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin/python
WORKDIR ?= runs/demo

LOCKED ?= 3.11 3.12 3.13

.PHONY: demo test test-all faults lock clean

demo: $(VENV)/.core
	$(RUN) scripts/train.py --config=configs/digits.py --workdir=$(WORKDIR)

# Data that are not in the repository: VAE_JAX_DATA_DIR=folder make test. In another order: make test PYTEST=--order=1
test: $(VENV)/.test
	$(RUN) -m ruff check .
	$(RUN) -m pytest -n 2 --dist loadgroup --no-loadscope-reorder -m "not long" $(PYTEST)

test-all: $(VENV)/.test
	$(RUN) -m ruff check .
	$(RUN) -m pytest -n 2 --dist loadgroup --no-loadscope-reorder $(PYTEST)

# Writes docs/faults.jsonl and docs/faults.md. VAE_JAX_OTHER_PYTHON=python of an environment with another JAX
faults: $(VENV)/.test
	$(RUN) -m pytest tests/faults tests/test_hosts.py tests/bad_input --faults=full

lock: $(VENV)/.core
	$(RUN) -m pip install --quiet uv
	for version in $(LOCKED); do \
	  $(RUN) -m uv pip compile --quiet setup.cfg --extra test --python-version $$version \
	    --no-annotate --custom-compile-command 'make lock' --output-file constraints/py$$version.txt || exit 1; \
	done

$(VENV)/.core: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --editable .
	touch $@

$(VENV)/.test: $(VENV)/.core
	$(RUN) -m pip install --quiet --editable '.[test]'
	touch $@

clean:
	rm -rf $(VENV) runs build *.egg-info
