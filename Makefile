# make demo: train the digits VAE.  make test: lint and all tests.  make faults: all faults, in about an hour.
# Each makes .venv first; only Python >= 3.11 is needed.
PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin/python
WORKDIR ?= runs/demo

.PHONY: demo test faults clean

demo: $(VENV)/.core
	$(RUN) scripts/train.py --config=configs/digits.py --workdir=$(WORKDIR)

# Data that are not in the repository: VAE_JAX_DATA_DIR=folder make test
test: $(VENV)/.test
	$(RUN) -m ruff check .
	$(RUN) -m pytest -n 2 --dist loadgroup

# Writes docs/faults.jsonl and docs/faults.md. VAE_JAX_OTHER_PYTHON=python of an environment with another JAX
faults: $(VENV)/.test
	$(RUN) -m pytest tests/faults tests/test_hosts.py tests/bad_input --faults=full

$(VENV)/.core: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --editable .
	touch $@

$(VENV)/.test: $(VENV)/.core
	$(RUN) -m pip install --quiet --editable '.[test]'
	touch $@

clean:
	rm -rf $(VENV) runs build *.egg-info
