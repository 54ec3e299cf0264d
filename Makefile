# The habits of this project, one command each. Needs make and Python 3.11 or newer; everything else is installed into
# .venv, pinned and checked by hash. The stamp files under .venv make a second run start at once, without network.
# PYTHON=python3.13 names an interpreter. Without it the first environment, .venv, is made with the best that is on PATH:
# tools/best_python.sh says which that is. Whatever made it, .venv is used when none is named; an interpreter of another
# version than .venv has gets an environment of its own beside it, .venv-3.13.

NODES ?= 10
SEEDS ?= 200
CLASSIC ?=
ACCEPT ?=
KILLS ?= 200
FROM ?=
STARTS ?= 2
BLOCKS ?= 6
PUTS ?= 60
ROW ?=

VENV := .venv
ifeq ($(origin PYTHON),undefined)
    ifeq ($(wildcard .venv/venv.stamp),)
        PYTHON := $(shell tools/best_python.sh)
    endif
else
    VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
    ifeq ($(wildcard .venv/lib/python$(VERSION)),)
        ifneq ($(wildcard .venv/lib),)
            VENV := .venv-$(VERSION)
        endif
    endif
endif
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip --disable-pip-version-check install --quiet

.DEFAULT_GOAL := help
.PHONY: help run test test-fast check house proto check-proto test-mutants test-kills test-cluster test-browser test-faults \
    test-attacks simulate simulate-mutants bench bench-quick bench-full bench-pair bench-check bench-overload bench-growth \
    lock clean

help:  ## say what can be made
	@sed -n 's/^\([a-z-]*\):.*## /\1  /p' $(MAKEFILE_LIST) | while read -r name text; do printf '  make %-18s %s\n' "$$name" "$$text"; done

run: $(VENV)/run.stamp  ## 10 nodes in one process on loopback; the first one's HTTP on 127.0.0.1:8080
	@exec $(BIN)/camomile cluster -n 10 --http 127.0.0.1:8080

test-fast: $(VENV)/dev.stamp  ## the tests in virtual time that take little, within a minute
	$(BIN)/python -m pytest -q -m "not real_time and not long"

# Tests in real time mostly wait, and the others mostly compute, so they run beside each other.
test: $(VENV)/dev.stamp  ## every test that needs no container engine
	@mkdir -p build
	@$(BIN)/python -m pytest -q -m real_time > build/real-time.log 2>&1 & waiting=$$!; \
	trap 'kill -INT $$waiting; wait; exit 130' INT TERM; \
	$(BIN)/python -m pytest -q -m "not real_time"; computed=$$?; \
	wait $$waiting; waited=$$?; \
	echo "The tests in real time, which ran meanwhile:"; cat build/real-time.log; exit $$((computed | waited))

check: $(VENV)/dev.stamp  ## format, lint, types, imports, generated code
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_layering.py
	@$(MAKE) --no-print-directory check-proto

house: $(VENV)/run.stamp  ## sizes, imports and words of each room, beside the last tag's or those of FROM=commit
	@$(BIN)/python -m tools.house --from "$(FROM)"

proto: $(VENV)/dev.stamp  ## generate the wire's code from schemas/packet.proto
	tools/generate_proto.sh $(BIN)/python

check-proto: $(VENV)/dev.stamp
	tools/check_proto.sh $(BIN)/python

test-mutants: $(VENV)/dev.stamp  ## drop the rules of records one by one: some test must notice each
	$(BIN)/python -m tests.mutants

test-kills: $(VENV)/dev.stamp  ## KILLS=200 times SIGKILL for all of 10 real nodes at once, under writes
	$(BIN)/python -m tools.kills --kills $(KILLS)

test-cluster: $(VENV)/dev.stamp  ## NODES=10 containers, driven over HTTP; needs a container engine
	$(BIN)/python -m tools.cluster --nodes $(NODES)

test-browser: $(VENV)/dev.stamp  ## what pages of other sites can do to a node, in a headless Chromium where there is one
	@if command -v chromium || command -v chromium-browser || command -v google-chrome; then $(BIN)/python -m pytest -q tests/browser; \
	else echo "NOT RUN: no Chromium is installed (Debian: apt-get install chromium)"; fi

test-faults: NODES = 50
test-faults: $(VENV)/dev.stamp  ## kill, pause, part and restart NODES=50 processes in network namespaces
	$(BIN)/python -m tools.faults --nodes $(NODES)

test-attacks: NODES = 50
test-attacks: $(VENV)/dev.stamp  ## known attacks on NODES=50 processes in network namespaces, beside controls; ROW=4 for one
	$(BIN)/python -m tests.attacks --nodes $(NODES) $(if $(ROW),--row $(ROW))

simulate: $(VENV)/run.stamp  ## SEEDS=200 random networks under random faults, in virtual time
	$(BIN)/camomile simulate --scenario swarm --seeds $(SEEDS)

simulate-mutants: $(VENV)/dev.stamp  ## defects of the real code, one by one: the simulation must catch each
	$(BIN)/python -m tools.mutants

bench: $(VENV)/dev.stamp  ## ours beside its peers on 50 hosts, within 15 minutes; CLASSIC=path adds a classic binary
	$(BIN)/python -m benchmarks bench --classic "$(CLASSIC)"

bench-quick: $(VENV)/dev.stamp  ## the same, short: one round beside OpenDHT
	$(BIN)/python -m benchmarks quick --classic "$(CLASSIC)"

bench-full: $(VENV)/dev.stamp  ## every size and number of concurrent requests
	$(BIN)/python -m benchmarks full --classic "$(CLASSIC)"

bench-pair: NODES = 50
bench-pair: $(VENV)/dev.stamp  ## commits A= and B= (default: the tree as it is) beside OpenDHT: ratios with intervals; BLOCKS=6
	$(BIN)/python -m benchmarks.pair --a "$(A)" --b "$(B)" --python-a "$(PYTHON_A)" --python-b "$(PYTHON_B)" \
	    --nodes $(NODES) --starts $(STARTS) --blocks $(BLOCKS) --puts $(PUTS)

bench-check: $(VENV)/dev.stamp  ## counts of messages, bytes and calls beside the committed ones; ACCEPT=1 takes them
	PYTHONHASHSEED=0 $(BIN)/python -m benchmarks.counts $(if $(ACCEPT),--accept)

bench-overload: $(VENV)/dev.stamp  ## too much to do, clients that idle, floods: what they do to a node and to others
	$(BIN)/python -m benchmarks.overload

bench-growth: $(VENV)/dev.stamp  ## SQLite and a node's start from ten thousand records to a million
	$(BIN)/python -m benchmarks.growth

lock: $(VENV)/dev.stamp  ## pin the dependencies anew (needs Python 3.11 and a package registry)
	tools/lock.sh $(BIN)/python --upgrade

clean:  ## remove what was made here, the environments included
	rm -rf .venv .venv-3.* build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage .coverage.* htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/venv.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "Camomile needs Python 3.11 or newer and '$(PYTHON)' is not: make PYTHON=python3.12 (or another)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	    { echo "'$(PYTHON)' cannot make environments: install its venv module (Debian, Ubuntu: apt-get install python3-venv)" >&2; exit 1; }
	@echo "Making a Python environment in $(VENV) with $(PYTHON). It is made once."
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/run.stamp: $(VENV)/venv.stamp requirements/run.txt requirements/build.txt pyproject.toml
	@echo "Installing the packages that Camomile runs on (requirements/run.txt). This can take two minutes ..."
	@$(PIP_INSTALL) --require-hashes -r requirements/build.txt -r requirements/run.txt
	@echo "Installing the command $(BIN)/camomile ..."
	@$(PIP_INSTALL) --no-index --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/dev.stamp: $(VENV)/run.stamp requirements/dev.txt
	@echo "Installing what the tests and the tools need (requirements/dev.txt). This can take two minutes ..."
	@$(PIP_INSTALL) --require-hashes -r requirements/dev.txt
	@touch $@
