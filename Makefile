# Needs Python >= 3.11 and make; everything else is installed into .venv.

# The first Python that the pinned packages support; `make run PYTHON=…` overrides it.
PYTHON ?= $(shell for python in python3 python3.12 python3.11 python3.13 python3.14; do \
	if $$python scripts/bootstrap.py --check >/dev/null 2>&1; then echo $$python; exit; fi; \
	done; echo python3)
BIN := .venv/bin

# Nothing is compiled ahead: what the first start writes halves the time of the next ones.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: soak locust help run test fuzz engine-cpu lint lock licenses sbom format reference bench bench-embed bench-ingest bench-search bench-limits bench-scale bench-verify bench-engine bench-masking bench-telemetry clean bench-agent bench-growth bench-phases bench-bytecodes

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

run: ## Install what is missing, start everything, serve on http://127.0.0.1:8080 (HOST, PORT, MODEL)
	@$(PYTHON) scripts/bootstrap.py
	@$(BIN)/naru serve --demo --exit-with-parent

engine-cpu: ## Install vLLM for the CPU (`MODEL=… make run` does what is needed by itself)
	@$(PYTHON) scripts/bootstrap.py --engine-cpu

test: ## Install what is missing; lint, types and all tests: exactly what CI runs
	@$(PYTHON) scripts/bootstrap.py --dev
	@$(MAKE) --no-print-directory lint
	$(BIN)/pytest

fuzz: ## The property tests with inputs that no run has tried yet
	$(BIN)/pytest -m hypothesis --hypothesis-profile=default

lint: ## Ruff, strict types and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

lock: ## Write the hashes of changed pins into requirements/*.txt
	@$(PYTHON) scripts/lock.py

licenses: ## List the licences of all packages; fails where one is not allowed
	@$(BIN)/python scripts/licenses.py

sbom: ## Write build/naru.cdx.json, the parts list (CycloneDX) of what the gateway's image ships
	@$(BIN)/python scripts/sbom.py

format: ## Let ruff lay out and mend the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

reference: ## Write docs/reference/ anew from the settings' types and the errors
	@PYTHONPATH=$(CURDIR) $(BIN)/python -m scripts.reference

bench: ## How fast the gateway is, beside others (ARGS="--quick": alone, in a minute)
	@PYTHONPATH=$(CURDIR):tests:loadtest $(BIN)/python loadtest/bench.py $(ARGS)

locust: ## Users of a running service, on http://localhost:8089 (ARGS="--headless -u 50 -r 10 -t 5m")
	@test -x .naru/locust/bin/locust || ($(PYTHON) -m venv .naru/locust && \
		.naru/locust/bin/pip install -q --require-hashes -r requirements/loadtest.txt)
	@set -a; test ! -f .naru/demo.env || . .naru/demo.env; set +a; \
		.naru/locust/bin/locust -f loadtest/locustfile.py $(ARGS)

bench-agent: ## What an agent's turn takes beside its model, with 100,000 chunks to search
	@PYTHONPATH=$(CURDIR):tests:loadtest $(BIN)/python loadtest/agent_turn.py $(ARGS)

bench-growth: ## How costs grow with bodies, messages, tenants, sessions, stores, agents (ARGS=--quick)
	@PYTHONPATH=$(CURDIR):tests:loadtest $(BIN)/python loadtest/growth.py $(ARGS)

soak: ## Five minutes of mixed load with faults: memory, tasks, descriptors (ARGS="--minutes 30")
	@PYTHONPATH=$(CURDIR):tests:loadtest $(BIN)/python loadtest/soak.py $(ARGS)

bench-bytecodes: ## How many bytecodes a request takes, exactly (ARGS="--way stream", or agent)
	@PYTHONPATH=$(CURDIR):tests:loadtest $(BIN)/python loadtest/bytecodes.py $(ARGS)

bench-phases: ## Where a request's CPU time goes (ARGS="--way stream", or agent)
	@PYTHONPATH=$(CURDIR):tests:loadtest $(BIN)/python loadtest/phases.py $(ARGS)

bench-ingest: ## What reading documents costs beside embedding them, in CPU time and in time
	@PYTHONPATH=$(CURDIR) $(BIN)/python loadtest/ingest.py $(ARGS)

bench-limits: ## What limiting a request costs, with a Redis of its own
	@PYTHONPATH=$(CURDIR) $(BIN)/python loadtest/limits.py

bench-scale: ## How throughput grows with web workers (ARGS="--workers 1 2 4 8")
	@PYTHONPATH=$(CURDIR):tests:loadtest $(BIN)/python loadtest/scale.py $(ARGS)

bench-governance: ## What governance takes of the throughput of chat completions (ARGS="--apart": by part)
	@PYTHONPATH=$(CURDIR):tests:loadtest $(BIN)/python loadtest/govern_cost.py $(ARGS)

bench-ledger: ## What ledger and budgets cost a request, and a chunk of a stream
	@PYTHONPATH=$(CURDIR) $(BIN)/python loadtest/govern.py

bench-verify: ## What verifying a request costs in process
	@PYTHONPATH=$(CURDIR) $(BIN)/python loadtest/verify.py

bench-engine: ## What the way through Naru costs beside vLLM itself (ARGS="--model …")
	@PYTHONPATH=$(CURDIR):tests $(BIN)/python loadtest/engine.py $(ARGS)

bench-embed: ## What embedding costs by backend, and what a question waits while documents are read
	@PYTHONPATH=$(CURDIR) $(BIN)/python loadtest/embed.py $(ARGS)

bench-search: ## What a search among 100,000 chunks takes (ARGS="--passages KorQuAD_v1.0_dev.json")
	@PYTHONPATH=$(CURDIR):loadtest $(BIN)/python loadtest/search.py $(ARGS)

bench-telemetry: ## What metrics, Server-Timing and traces cost a request
	@PYTHONPATH=$(CURDIR) $(BIN)/python loadtest/telemetry.py

bench-masking: ## Precision and recall of what is masked, megabytes a second, and who waits meanwhile
	@PYTHONPATH=$(CURDIR):tests $(BIN)/python loadtest/masking.py

clean: ## Remove .venv and caches; .naru, the data, stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
