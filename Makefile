# Everything needed is put into .venv here; nothing else on the machine is touched.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin
READY := $(VENV)/.ready
OUT ?= detector-demo
# Test processes. Each starts the servers that its tests need, so more than a few cost more memory than they save time.
JOBS ?= 2

# Matrices are small here; threads of the linear algebra would only wait for each other on a busy machine.
export OPENBLAS_NUM_THREADS ?= 1
export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help

.PHONY: help
help: ## List what can be done
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(READY) ## Create .venv and install the project and its tools into it

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
		|| { echo "Python 3.11, 3.12 or 3.13 is needed; say which with: make PYTHON=python3.12 ..."; exit 1; }
	@echo "creating $(VENV) with $$($(PYTHON) --version) and installing into it (a minute or two, once)"
	@$(PYTHON) -m venv $(VENV) \
		|| { echo "this Python cannot make virtual environments; on Debian: apt-get install python3-venv"; exit 1; }
	@$(RUN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@$(RUN)/python -m pip install --quiet --editable '.[local,art]' --group dev
	@touch $(READY)

.PHONY: demo
demo: $(READY) ## Watch a model theft being caught (about half a minute)
	@$(RUN)/detector demo --out $(OUT)

.PHONY: demo-kafka
demo-kafka: $(READY) ## The same, through the service on a real Kafka broker started here
	@$(RUN)/python -m tests.servers.demo kafka --out $(OUT)

.PHONY: kafka-up
kafka-up: $(READY) ## Start a Kafka broker on this machine that stays
	@$(RUN)/python -m tests.servers.kafka up

.PHONY: kafka-down
kafka-down: $(READY) ## Stop it; its data stay
	@$(RUN)/python -m tests.servers.kafka down

.PHONY: demo-siem
demo-siem: $(READY) ## And on into a real Elasticsearch started here, found by Elastic's own rule
	@$(RUN)/python -m tests.servers.demo siem --out $(OUT)

.PHONY: demo-gateway
demo-gateway: $(READY) ## Thieves ask a model through nginx, and are throttled, perturbed and cut off while they ask
	@$(RUN)/python -m tests.servers.demo gateway --out $(OUT)

.PHONY: elastic-up
elastic-up: $(READY) ## Start an Elasticsearch on this machine that stays
	@$(RUN)/python -m tests.servers.elastic up

.PHONY: elastic-down
elastic-down: $(READY) ## Stop it; its data stay
	@$(RUN)/python -m tests.servers.elastic down

.PHONY: test
test: $(READY) ## Run the tests, real servers included
	@$(RUN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

.PHONY: test-faults
test-faults: $(READY) ## Kill, stop and restart workers and brokers while a log comes in, with each Kafka client and with both
	@DETECTOR_TEST_CLIENTS=all $(RUN)/python -m pytest -m faults

.PHONY: fuzz
fuzz: $(READY) ## Show every log format 10,000 mutated records, a replay 100,000, the scanner 1,000,000, and the topics of a real broker 100,000 (some minutes)
	@DETECTOR_FUZZ_MUTANTS=10000 $(RUN)/python -m pytest -s tests/ingest/formats/test_mutations.py
	@DETECTOR_FUZZ_REPLAYED=100000 $(RUN)/python -m pytest -s tests/offline/test_replay.py
	@DETECTOR_FUZZ_SCANNED=1000000 $(RUN)/python -m pytest -s tests/ingest/test_scanner.py
	@DETECTOR_FUZZ_RECORDS=100000 $(RUN)/python -m pytest -s tests/service/test_fuzz.py

# What nobody checks in compiled code: all habits, repeats, codes, and inputs of every hard kind.
BOUNDED = tests/engine/test_engine_inputs.py tests/engine/test_engine_repeats.py tests/engine/memory/test_checksums.py \
	tests/engine/test_forged_state.py tests/engine/links/seeking

.PHONY: test-bounds
test-bounds: $(READY) ## Compile all kernels so that they check the bounds of every array, and run them on hard input (some minutes)
	@NUMBA_BOUNDSCHECK=1 XDG_CACHE_HOME=$(CURDIR)/build/bounds $(RUN)/python -m pytest -q -n $(JOBS) --dist loadfile $(BOUNDED)

.PHONY: test-fast
test-fast: $(READY) ## Run the tests that take no more than a moment
	@$(RUN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder -m "not slow and not broker"

.PHONY: check
check: docs ## Lint, check formatting, types and imports, build the documentation, look for known vulnerabilities
	@$(RUN)/ruff check .
	@$(RUN)/ruff format --check .
	@$(RUN)/mypy
	@$(RUN)/lint-imports --cache-dir .mypy_cache/imports
	@$(RUN)/python deploy/audit.py deploy/requirements.lock

.PHONY: docs
docs: $(READY) ## Build the documentation site into build/docs, and take no broken link
	@NO_MKDOCS_2_WARNING=1 $(RUN)/mkdocs build --quiet --strict --config-file docs/mkdocs.yml
	@echo "the documentation is in build/docs/index.html"

.PHONY: lock
lock: $(READY) ## Write deploy/requirements.lock: what the image installs, by version and hash; and the pins of servers in tests
	@$(RUN)/uv pip compile --quiet --upgrade --generate-hashes --universal --python-version 3.11 --no-header \
		pyproject.toml deploy/requirements.in --output-file deploy/requirements.lock
	@for server in tests/servers/serving/*.in; do \
		$(RUN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-header --no-annotate \
			$$server --output-file $${server%.in}.txt || exit 1; \
	done

.PHONY: format
format: $(READY) ## Format the code
	@$(RUN)/ruff check --fix .
	@$(RUN)/ruff format .

.PHONY: bench
bench: $(READY) ## Speed and memory as ratios from one run (bench.json), links and odometer (bench-links.json), small batches (bench-batches.json), log formats (bench-formats.json)
	@$(RUN)/python -m tests.bench.bench_pipeline
	@$(RUN)/python -m tests.bench.bench_links
	@$(RUN)/python -m tests.bench.bench_batches
	@$(RUN)/python -m tests.bench.bench_formats

.PHONY: bench-kafka
bench-kafka: $(READY) ## The same on a real Kafka broker: throughput, latency, restore, workers (bench-kafka.json)
	@$(RUN)/python -m tests.bench.bench_kafka

.PHONY: bench-peers
bench-peers: $(READY) ## Other stream processors on a trivial job, in .venv-peers (bench-peers.json); left out where they cannot be had
	@test -x .venv-peers/bin/python || $(PYTHON) -m venv .venv-peers
	@.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@.venv-peers/bin/python -m pip install --quiet --group peers || echo "some peers cannot be installed here"
	@$(RUN)/python -m tests.bench.bench_peers --peers .venv-peers/bin/python

.PHONY: bench-ship
bench-ship: $(READY) ## Alerts into a real Elasticsearch that is killed meanwhile (bench-ship.json)
	@$(RUN)/python -m tests.bench.bench_ship

.PHONY: bench-gate
bench-gate: $(READY) ## What the gate costs: time a request, memory, delay from a real Kafka to a refusal (some minutes)
	@$(RUN)/python -m tests.bench.bench_gate

.PHONY: quality
quality: $(READY) ## Measure detection against published detectors, then on all worlds (some hours; results in quality/, worlds/)
	@status=0; $(RUN)/python -m tests.quality.quality --out quality || status=1; $(MAKE) worlds || status=1; exit $$status

.PHONY: worlds
worlds: $(READY) ## Measure it on 23 kinds of data, each on its wire, the held-out half beside the open one (results in worlds/)
	@$(RUN)/python -m tests.quality.transfer --out worlds

.PHONY: false-alarms
false-alarms: $(READY) ## Count false alarms among 40,000 innocents (about half an hour; results in false-alarms/)
	@$(RUN)/python -m tests.quality.false_alarms --out false-alarms --world digits_8bit --world shuttle --world features

.PHONY: schemas
schemas: $(READY) ## Write the contracts' JSON Schema files
	@$(RUN)/detector schema export --out schemas

.PHONY: clean
clean: ## Remove what the commands above created
	rm -rf $(VENV) .venv-peers .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist detector-demo detector-out quality worlds false-alarms bench*.json
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
