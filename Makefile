# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV   := .venv
RUN    := $(VENV)/bin/python
STAMP  := $(VENV)/.from-lock
# Two test processes: what uses the container engine in one, the rest in both (tests/conftest.py).
IN_TWO := -n 2 --dist loadgroup

.PHONY: help demo test test-all check lint format env lock bench-metrics bench-intervals bench-pipe bench-baselines bench-launches cost-page \
        bench-features features-table bench-precision bench-protocols protocols-page bench-regimes regimes-page \
        gpu-day gpu-day-page kit-page schema node-tools lock-node shots clean

help:  ## what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

demo: env  ## set up, train and score RD4AD on the built-in demo pack, build the site (1 to 3 minutes)
	@echo "== RD4AD on the built-in demo pack, without a container: train, predict, score (about 1 minute on 2 cores)"
	@$(RUN) -m harness.evaluate baselines/rd4ad --engine process

test: env  ## set up and run the tests (half an hour; those with containers are skipped where no engine answers)
	@echo "== the tests (about half an hour on 2 cores, less where no container engine answers)"
	@$(RUN) -m pytest $(IN_TWO) -m "not slow"

test-all: env  ## every test, the slow ones too (an hour and a half)
	@$(RUN) -m pytest $(IN_TWO)

lint: env  ## format, lint, types
	@echo "== format, lint, types"
	@$(RUN) -m ruff format --check .
	@$(RUN) -m ruff check .
	@$(RUN) -m mypy

check: lint  ## format, lint, types, fast tests (8 minutes)
	@echo "== fast tests"
	@$(RUN) -m pytest -q $(IN_TWO) -m "not slow and not engine and not browser and not hpc"

format: env  ## format the code and mend what the linter can
	@$(RUN) -m ruff check --fix --quiet . ; $(RUN) -m ruff format .

bench-metrics: env  ## time the metrics against their peers (10 minutes; writes build/bench-metrics.json)
	@$(RUN) tests/benchmarks/bench_metrics.py

bench-pipe: env  ## time the pipe against a raw copy of the same bytes (2 minutes; writes build/bench-pipe.json)
	@$(RUN) tests/benchmarks/bench_pipe.py

bench-intervals: env  ## how often the intervals cover, by simulation (8 minutes; writes harness/metrics/README.md)
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(RUN) -m tests.benchmarks.bench_intervals

DEVICE ?= cpu
bench-baselines: env  ## what every baseline costs on DEVICE=cpu|cuda:0 (8 minutes a call: repeat until nothing is left)
	@$(RUN) tests/benchmarks/bench_baselines.py --device $(DEVICE) --stop-after 480 $(ARGS)

bench-launches: env  ## kernels, operations and bytes of the methods whose code was made cheaper, before and now (half an hour)
	@$(RUN) tests/benchmarks/bench_launches.py $(ARGS)

cost-page: env  ## bring it into the table that campaigns plan with, and into docs/cost.md
	@$(RUN) tests/benchmarks/bench_baselines.py --write

PACK ?=
bench-features: env  ## every baseline on true and on random features, on the images of PACK=DIR (hours: repeat until nothing is left)
	@$(RUN) tests/benchmarks/bench_features.py --pack '$(PACK)' $(ARGS)

features-table: env  ## bring what there is of it into baselines/README.md
	@$(RUN) tests/benchmarks/bench_features.py --write

bench-precision: env  ## what a GPU's bfloat16 changes, on the images of PACK=DIR (half an hour: repeat until nothing is left; ARGS=--write: into docs/cost.md)
	@$(RUN) tests/benchmarks/bench_precision.py --pack '$(PACK)' $(ARGS)

bench-protocols: env  ## what the way of counting does to the numbers, on the images of PACK=DIR (half an hour: repeat until nothing is left)
	@$(RUN) tests/benchmarks/bench_protocols.py --pack '$(PACK)' $(ARGS)

protocols-page: env  ## bring what there is of it into docs/protocol-effects.md
	@$(RUN) tests/benchmarks/bench_protocols.py --write

DATA_ROOT ?=
bench-regimes: env  ## one model for several packs beside one for each, and few images, on the packs of DATA_ROOT=DIR (an hour: repeat until nothing is left)
	@$(RUN) tests/benchmarks/bench_regimes.py --data-root '$(DATA_ROOT)' $(ARGS)

regimes-page: env  ## bring what there is of it into docs/regimes.md
	@$(RUN) tests/benchmarks/bench_regimes.py --write

gpu-day: DEVICE = cuda:0
gpu-day: env  ## what only a GPU can show (14 minutes a call on one GPU: repeat until nothing is left)
	@$(RUN) -m tests.benchmarks.gpu_day --device $(DEVICE) $(ARGS)

gpu-day-page: env  ## bring it into docs/gpu-day.md
	@$(RUN) -m tests.benchmarks.gpu_day --write

kit-page: env  ## write the kit's signatures to docs/kit.md
	@$(RUN) tests/baselines/kit_page.py --write

schema: env  ## write the JSON Schema of a record to docs/record.schema.json
	@$(RUN) -c "import json, pathlib, harness.records.record as r; p = pathlib.Path('docs/record.schema.json'); p.parent.mkdir(exist_ok=True); p.write_text(json.dumps(r.json_schema(), indent=1) + '\n')"

lock: env  ## renew requirements.lock from pyproject.toml
	@$(VENV)/bin/uv pip compile --quiet --universal --fork-strategy fewest --python-version 3.11 \
	    --generate-hashes --all-extras --no-annotate --no-header --upgrade pyproject.toml -o requirements.lock
	@! grep -n '://' requirements.lock

# The checkers of the site's tests: exact versions, checked by their hashes, below build/.
NODE_TOOLS := tests/leaderboard/node
node-tools: build/node-tools/.from-lock  ## what the site's tests borrow from npm (10 seconds, once; needs node 20.19 and npm)

build/node-tools/.from-lock: $(NODE_TOOLS)/package.json $(NODE_TOOLS)/package-lock.json $(NODE_TOOLS)/.npmrc
	@mkdir -p $(@D) && cp $^ $(@D)
	@npm ci --silent --prefix $(@D)
	@touch $@

# npm writes addresses of donations too; none is needed to install.
lock-node:  ## renew tests/leaderboard/node/package-lock.json from its package.json
	@cd $(NODE_TOOLS) && rm -f package-lock.json && npm install --package-lock-only --silent && node strip_lock.cjs
	@! grep -n '://' $(NODE_TOOLS)/package-lock.json

shots: env  ## pictures of every kind of page, wide and narrow, light and dark, into build/shots (2 minutes)
	@$(RUN) -m tests.leaderboard.shots $(ARGS)

clean:  ## remove the environment, the results and the site
	rm -rf $(VENV) build results site

env: $(STAMP)

# uv comes from the same lock file, checked by its hashes, and installs all the rest.
$(STAMP): requirements.lock
	@echo "== the environment: about 6 GB of exact versions into $(VENV) (1 to 5 minutes, once)"
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'error: Python 3.11 or newer is needed\nfix: make PYTHON=python3.11')"
	@$(PYTHON) -m venv $(VENV)
	@mkdir -p build && awk '/^uv==/ {on=1} on {print} on && !/\\$$/ {exit}' requirements.lock > build/uv.lock.txt
	@$(RUN) -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r build/uv.lock.txt
	@$(VENV)/bin/uv pip sync --quiet --python $(RUN) --require-hashes requirements.lock
	@touch $@
