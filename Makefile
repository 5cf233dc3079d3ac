# Two commands matter: `make calibrate` and `make test`. The rest is for contributors.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST_FLAGS ?=
NATIVE := $(wildcard native/*.py native/*/*.c native/*/*.h)
FOR_WINDOWS := instruments/power instruments/network instruments/inference instruments/training

.PHONY: calibrate test lint types docs picture benchmark sanitize mutations format clean

calibrate: $(VENV)/.calibrate
	$(BIN)/aicalib calibrate

test: $(VENV)/.test
	@.ci/prerequisites --tests
	$(BIN)/python -m pytest -n 2 $(PYTEST_FLAGS)

$(VENV)/bin/python:
	@PYTHON=$(PYTHON) .ci/prerequisites
	$(PYTHON) -m venv $(VENV)

$(VENV)/.calibrate: $(VENV)/bin/python pyproject.toml $(NATIVE)
	@PYTHON=$(PYTHON) .ci/prerequisites
	$(BIN)/python -m pip install -q -e '.[all]'
	@touch $@

# The package has been built and installed by then: pip adds what else it names for these uses.
$(VENV)/.test: $(VENV)/.calibrate
	$(BIN)/python -m pip install -q 'aicalib-hw[test]'
	@touch $@

$(VENV)/.dev: $(VENV)/.test
	$(BIN)/python -m pip install -q 'aicalib-hw[dev]'
	@touch $@

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.dev
	$(BIN)/mypy --strict aicalib_hw instruments simulators
	$(BIN)/mypy --strict --platform win32 --no-warn-unreachable --cache-dir .mypy_cache/windows \
		--exclude transport/_guard.py aicalib_hw $(FOR_WINDOWS)
	tests/typed-tree build/typed
	MYPYPATH=build/typed $(BIN)/mypy --strict tests

docs: $(VENV)/.dev
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html

picture: $(VENV)/.test
	$(BIN)/python docs/pictures/make_picture.py

benchmark: $(VENV)/.test
	@.ci/prerequisites --benchmark
	$(BIN)/python -m tests.benchmarks

sanitize: $(VENV)/.test
	$(BIN)/python native/sanitize.py

mutations: $(VENV)/.test
	$(BIN)/python tests/mutations.py

clean:
	rm -rf build dist docs/_build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
