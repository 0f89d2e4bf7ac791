# Every target sets up what it needs. `make help` lists them.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# The demo's and the server's data live here; a deployment sets RAG_HOME itself.
export RAG_HOME ?= $(CURDIR)/data
# Where wheels of torch without CUDA are found, if the package index has only the CUDA build (README, "Two commands").
TORCH_INDEX ?=
# Processes that share the tests.
WORKERS ?= 2
# llama.cpp's AMX code is faulty (docs/decisions/0033): a compiler that knows AMX is told to leave it out.
NO_AMX := -mno-amx-int8
export CMAKE_ARGS ?= $(if $(shell $(CC) $(NO_AMX) -x c -E /dev/null >/dev/null 2>&1 && echo knows), \
	-DCMAKE_C_FLAGS=$(NO_AMX) -DCMAKE_CXX_FLAGS=$(NO_AMX))
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt \
	$(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))

.PHONY: help setup models demo serve test test-faults test-all test-slow check format docs bench constraints clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /  \1\t/' | expand -t 16

setup: $(VENV)/.installed ## make .venv from constraints.txt

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Plumbline needs Python 3.11 or newer: make PYTHON=python3.11 setup"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV): llama.cpp is compiled once, for this machine (minutes) ..."
	$(PIP_INSTALL) -e '.[dev]'
	@touch $@

models: setup ## fetch and verify the default models
	@$(BIN)/rag models pull

demo: models ## ingest examples/corpus and ask four questions
	@$(BIN)/indexer ingest examples/corpus
	@$(BIN)/rag ask --file examples/questions.txt

serve: models ## serve the API on http://127.0.0.1:8000
	@$(BIN)/rag serve

# Every folder below tests/ is in one of the two.
TESTS        := tests/unit tests/contracts tests/integration tests/property
TESTS_FAULTS := tests/e2e tests/faults
# Without bytecode each worker, and each program that a test starts, would compile all modules again.
define run-tests
@$(BIN)/rag models pull smollm2-135m-instruct all-minilm-l6-v2
PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal
endef

test: setup ## unit, contract, integration and property tests, with real small models
	$(run-tests) $(TESTS)

test-faults: setup ## end-to-end and fault tests: programs that are started, killed, damaged and out of room
	$(run-tests) $(TESTS_FAULTS)

test-all: setup ## both, as CI does
	$(run-tests) $(TESTS) $(TESTS_FAULTS)

test-slow: models ## what takes minutes or the 1.5B model
	$(BIN)/python -m pytest -m slow --timeout 1800

check: setup ## lint, format, types, import direction, dependencies
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .

format: setup ## apply the formatter and safe fixes
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: setup ## regenerate docs/cli.md, docs/openapi.json and the example PDFs
	$(BIN)/python -m docs.make_openapi
	$(BIN)/python -m docs.make_cli
	$(BIN)/python examples/make_pdfs.py

# MODEL, DATA (an evaluation folder) and QUICK=1 choose what is run; LLAMA_SERVER and LLAMA_CPP_SERVER_PYTHON name peers
# that are there already, which are built otherwise (docs/benchmarks.md).
bench: setup $(if $(and $(LLAMA_SERVER),$(LLAMA_CPP_SERVER_PYTHON)),,build/peers/.built) ## speed and memory beside peers: about 20 minutes, on an idle machine
	@$(BIN)/rag models pull $(or $(MODEL),$(if $(QUICK),smollm2-135m-instruct))
	$(BIN)/python -m benchmarks $(MODEL) $(if $(QUICK),--quick) $(if $(DATA),--data $(DATA)) \
		$(if $(LLAMA_SERVER),--llama-server $(LLAMA_SERVER)) \
		$(if $(LLAMA_CPP_SERVER_PYTHON),--llama-cpp-server-python $(LLAMA_CPP_SERVER_PYTHON))

build/peers/.built: constraints.txt | setup
	@echo "Building the peers of the benchmarks: llama-server is compiled once (minutes) ..."
	$(BIN)/python -m benchmarks.build_peers --into $(@D)
	@touch $@

constraints: ## resolve all dependencies afresh and pin them
	rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet 'torch==2.13.0' '.[dev]'
	.venv-lock/bin/python -m pip freeze --exclude plumbline | sed -E 's/\+cpu$$//' > constraints.txt
	rm -rf .venv-lock

clean: ## remove .venv and caches; data stays
	rm -rf $(VENV) .venv-lock .pytest_cache .mypy_cache .ruff_cache build *.egg-info
