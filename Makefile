# Each target is one line that calls what does the work.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup demo test soak lint bench

setup: ## the environment, a sandbox engine, the sandbox image
	@$(PYTHON) ci/setup.py

demo: setup ## the whole way on a real project; ENGINE=claude uses the model
	@$(BIN)/agent-pipeline demo $(if $(ENGINE),--engine $(ENGINE))

test: setup ## all tests but the long runs
	@$(BIN)/python tests/everything.py

soak: setup ## the long runs
	@$(BIN)/python -m pytest -m soak

lint: setup ## style, types, who imports whom
	@$(BIN)/pre-commit run --all-files

bench: setup ## what is measured, against whom
	@$(BIN)/python -m benchmarks
