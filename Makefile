# Every target sets up what it needs on a bare machine; `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow test-faults nightly lint check bench bench-scale bench-sandbox bench-archive format clean
python := .venv/bin/python
pytest := $(python) -m pytest --durations 20
# The tests of a module run in one process, in their order.
parallel = --numprocesses $(1) --dist loadscope --no-loadscope-reorder
# On a small machine two more processes than processors, because some tests wait.
workers := $(shell echo $$(( $$(nproc) < 4 ? $$(nproc) + 2 : 6 )))
abreast := $(call parallel,$(workers))

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/make \1	\2/' | expand -t 22

setup: ## make .venv and install what tests need
	@.ci/bootstrap test

demo: ## run agents of two users side by side over real source files
	@.ci/bootstrap demo
	@$(python) docs/examples/demo.py

test: setup ## run the tests on every backend, but the slow ones, those of faults and the nightly ones
	@$(pytest) $(abreast) -m "not slow and not faults and not nightly"

test-slow: setup ## run the slow tests: many processes, long examples, a full machine
	@$(pytest) $(abreast) -m "slow and not alone and not nightly"
	@$(pytest) -m "alone and not nightly"

test-faults: setup ## break servers under hosts at work, and check what the hosts were told
	@$(pytest) $(call parallel,2) -m faults

nightly: setup ## run the long proofs: thousands of sequences, kills at every moment
	@$(pytest) $(abreast) -m "nightly and not alone"
	@$(pytest) -m "nightly and alone"

lint: setup ## ruff, strict types, import contracts
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@$(python) -m mypy
	@.venv/bin/lint-imports

check: lint test test-slow test-faults ## all of CI: lint and every test but the nightly ones

bench: ## time the store beside bare drivers; only=, peers=1, json=
	@.ci/bootstrap $(if $(peers),peers,test)
	@.venv$(if $(peers),-peers)/bin/python -m tests.benchmarks.bench \
		$(addprefix --only ,$(only)) $(addprefix --json ,$(json))

bench-scale: setup ## time an operator's questions on two million records; only=, records=, seconds=, json=
	@$(python) -m tests.benchmarks.bench_scale $(addprefix --only ,$(only)) $(addprefix --records ,$(records)) \
		$(addprefix --command-seconds ,$(seconds)) $(addprefix --json ,$(json))

bench-sandbox: setup ## time cold and warm runs, and the way through the socket
	@$(python) -m tests.benchmarks.bench_sandbox

bench-archive: setup ## take 100,000 entries out and back on each engine: seconds and memory
	@$(python) -m tests.benchmarks.bench_archive

format: setup ## format the code, and fix what ruff can
	@.venv/bin/ruff check --fix --quiet || true
	@.venv/bin/ruff format

clean: ## remove what the targets made
	@rm -rf .venv .venv-peers .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
