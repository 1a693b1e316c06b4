# Every target sets up what it needs on a bare machine; `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help setup demo test lint check bench-sandbox bench-archive format clean
python := .venv/bin/python
# One process more than there are processors: tests of processes wait for what has to come first.
workers := $(shell echo $$(( $$(nproc) < 4 ? $$(nproc) + 1 : 4 )))
# What measures, or counts what is on the machine, is tested alone; the rest on several processors, file by file.
alone := tests/attacks tests/sandbox/test_flood.py tests/sandbox/test_neighbours.py

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/make \1	\2/' | expand -t 22

setup: ## make .venv and install what tests need
	@.ci/bootstrap test

demo: ## run agents of two users side by side over real source files
	@.ci/bootstrap demo
	@$(python) docs/examples/demo.py

test: setup ## run every test on every backend
	@$(python) -m pytest --numprocesses $(workers) --dist loadfile --no-loadscope-reorder $(addprefix --ignore=,$(alone))
	@$(python) -m pytest $(alone)

lint: setup ## ruff, strict types, import contracts
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@$(python) -m mypy
	@.venv/bin/lint-imports

check: lint test ## all of CI: lint and test

bench-sandbox: setup ## time cold and warm runs, and the way through the socket
	@$(python) -m tests.benchmarks.bench_sandbox

bench-archive: setup ## take 100,000 entries out and back on each engine: seconds and memory
	@$(python) -m tests.benchmarks.bench_archive

format: setup ## format the code, and mend what ruff can
	@.venv/bin/ruff check --fix --quiet || true
	@.venv/bin/ruff format

clean: ## remove what the targets made
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
