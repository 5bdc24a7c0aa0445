# Everything a developer runs. `make help` lists it.
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
FAST := not slow and not chain and not bench
# The first interpreter that runs and is new enough; a shim may exist and refuse.
PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { echo $$name; break; }; done)

.DEFAULT_GOAL := help
.PHONY: help install devchain demo test test-edge check lint fast docs simulate simulate-follow simulate-settlements simulate-solana simulate-stripe simulate-wallets fuzz bench lock clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-20s %s\n", $$1, $$2 }' Makefile

install: $(STAMP)  ## make the virtual environment

$(STAMP): requirements.lock setup.cfg pyproject.toml
	@test -n "$(PYTHON)" || { echo "Chainfold needs Python 3.11 or newer:" \
		"install python3.11 (and python3-venv), or say make PYTHON=/path/to/python"; \
		exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "Cannot make" \
		"$(VENV): on Debian and Ubuntu install python3-venv"; rm -rf $(VENV); exit 1; }
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	@PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

devchain: $(STAMP)  ## install the development chains' nodes and compilers
	@$(BIN)/python -c "from devnet.toolchain import ensure_toolchain; ensure_toolchain()"
	@$(BIN)/python -c "from devnet.solana.environment import ensure; ensure('node')"

demo: devchain  ## run the whole thing on a chain of your own
	$(BIN)/chainfold demo

test: devchain  ## run every test but the benchmarks
	$(BIN)/python -m pytest -m "not bench" -n 2 --dist loadscope -q

test-edge: devchain  ## run the tests that need real Polygon Edge nodes (Go 1.19)
	$(BIN)/python -m pytest tests/edge -q

check: lint fast  ## format, lint, types, architecture and the fast tests

lint: $(STAMP)  ## format, lint, types, architecture
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fast: $(STAMP)  ## run the tests that need no chain and little time
	$(BIN)/python -m pytest -m "$(FAST)" -n 2 --dist loadscope -q

docs: $(STAMP)  ## make docs/reference from the code
	$(BIN)/python -m ops.docs

simulate: $(STAMP)  ## play schedules of faults: make simulate SEED=100000 RUNS=50000
	CHAINFOLD_TEST_SEED=$(or $(SEED),0) CHAINFOLD_TEST_SCHEDULES=$(or $(RUNS),20000) \
		$(BIN)/python -m pytest tests/simulation/test_commands.py -n 2 --dist loadscope -q

simulate-wallets: $(STAMP)  ## the same for wallets, which do as they like
	CHAINFOLD_TEST_SEED=$(or $(SEED),0) CHAINFOLD_TEST_WALLETS=$(or $(RUNS),1500) \
		$(BIN)/python -m pytest tests/simulation/test_wallets.py -n 2 -q

simulate-follow: $(STAMP)  ## the same for the follower, over every kind of node
	CHAINFOLD_TEST_SEED=$(or $(SEED),0) CHAINFOLD_TEST_FOLLOW=$(or $(RUNS),3000) \
		$(BIN)/python -m pytest tests/simulation/test_nodes.py -n 2 --dist loadscope -q

simulate-stripe: $(STAMP)  ## the same for payments: a year of them for each seed
	CHAINFOLD_TEST_SEED=$(or $(SEED),0) CHAINFOLD_TEST_STRIPE=$(or $(RUNS),200) \
		$(BIN)/python -m pytest tests/simulation/test_stripe.py -n 2 -q

simulate-settlements: devchain  ## the same for settlements on a chain: RUNS=10000
	CHAINFOLD_TEST_SEED=$(or $(SEED),0) CHAINFOLD_TEST_SETTLEMENTS=$(or $(RUNS),10000) \
		$(BIN)/python -m pytest tests/simulation/test_settlements.py -s -q

simulate-solana: $(STAMP)  ## the same for Solana: its follower and its commands
	CHAINFOLD_TEST_SEED=$(or $(SEED),0) CHAINFOLD_TEST_FOLLOW_SOLANA=$(or $(RUNS),2000) \
		CHAINFOLD_TEST_SCHEDULES=$(or $(RUNS),5000) $(BIN)/python -m pytest \
		tests/simulation/test_solana_following.py \
		tests/simulation/test_solana_commands.py -n 2 -q

fuzz: $(STAMP)  ## mutate what others write: make fuzz SECONDS=3600 SEED=1
	CHAINFOLD_FUZZ_SECONDS=$(or $(SECONDS),600) CHAINFOLD_FUZZ_SEED=$(or $(SEED),0) \
		$(BIN)/python -m pytest tests/fuzz -n 2 -q

bench: devchain  ## print the figures
	$(BIN)/python -m pytest tests/bench -m bench -s

lock: $(STAMP)  ## choose the newest versions that go together
	$(BIN)/pip-compile setup.cfg --extra dev --upgrade --strip-extras --allow-unsafe \
		--no-header --no-emit-index-url --no-emit-trusted-host --no-emit-find-links \
		--annotation-style line --quiet --output-file requirements.lock

clean:  ## remove what can be made again; data in .chainfold stays
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache \
		.import_linter_cache .hypothesis devnet/node_modules \
		devnet/solana/.environments tests/solana/surfpool/node_modules \
		tests/solana/programs/node_modules tests/solana/metadata/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
