# `make` or `make help` lists the targets. Everything runs from a bare clone: the environment,
# the broker's jars and the emulator are made on first use and kept in .venv and .local.
# GNU make 3.81 (macOS) does not know .SHELLFLAGS, so each recipe line ends with the command that must succeed.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

UV_VERSION := 0.13.9
PY := .venv/bin/python
UV := .local/uv/bin/uv
export UV_PYTHON_DOWNLOADS := never

.PHONY: help
help: ## list the targets
	@while IFS= read -r line; do case $$line in [a-z]*:*" ## "*) \
		printf '  %-18s %s\n' "$${line%%:*}" "$${line#* ## }" ;; esac; done <Makefile | sort

# --- environment -------------------------------------------------------------
# The packages are compiled here once (20 s): dbt's and Airflow's imports take twice as long from source, and many
# machines that run tests set PYTHONDONTWRITEBYTECODE.

$(UV):
	@include/local/packages.sh uv $(UV_VERSION)

.venv/.made: requirements/dev.txt | $(UV)
	@include/local/packages.sh sync $(@D) $< --compile-bytecode
	@touch $@

.local/emulator/.made: requirements/emulator.txt | $(UV)
	@include/local/packages.sh sync $(@D) $< --compile-bytecode
	@touch $@

.local/aws-lint/.made: requirements/aws-lint.txt | $(UV)
	@include/local/packages.sh sync $(@D) $<
	@touch $@

# LOCAL_BROKER=built-in and given need no Kafka.
WITHOUT_KAFKA := LOCAL_BROKER=built-in make demo goes without
.local/kafka-jars/.made: include/local/kafka/jgo.lock.toml | .venv/.made
	@case $${LOCAL_BROKER:-auto} in built-in | given) exit 0 ;; esac; \
	$(PY) -m include.local.jars kafka $(<D) $(@D) --otherwise '$(WITHOUT_KAFKA)' && \
	{ ! ls $(@D)/*.jar >/dev/null 2>&1 || touch $@; }

.local/trino-jars/.made: $(wildcard tests/athena/trino/*/jgo.lock.toml) | .venv/.made
	@$(PY) -m include.local.jars trino tests/athena/trino $(@D)
	@touch $@

.PHONY: env
env: .venv/.made .local/emulator/.made .local/kafka-jars/.made ## make the environment (Python, emulator, Kafka)

.PHONY: lock
lock: | $(UV) ## renew the hashed locks of Python packages and jars
	@cd requirements && for name in ingest dev emulator aws-lint quix; do \
		../$(UV) pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
			--custom-compile-command "make lock" $$name.in -o $$name.txt || exit 1; done
	@$(MAKE) --no-print-directory .venv/.made
	@$(PY) -m include.local.jar_locks

# --- the demo ----------------------------------------------------------------

.PHONY: demo demo-break demo-fix demo-mail demo-sql demo-status demo-stop demo-clean
demo: env ## run the whole pipeline on this machine (DEMO_SECONDS=300: unattended, JSON status, then stop)
	@exec $(PY) -m include.local.demo run $(if $(DEMO_SECONDS),--seconds $(DEMO_SECONDS))

demo-break: .venv/.made ## break the running demo: WHAT=consumer (default), data, producer, s3 or tests
	@$(PY) -m include.local.demo break $(WHAT)

demo-fix: .venv/.made ## end the fault that demo-break made
	@$(PY) -m include.local.demo fix

demo-mail: .venv/.made ## print the newest alert mails
	@$(PY) -m include.local.demo mail

demo-sql: .venv/.made ## open a read-only copy of the demo's warehouse (SQL="select ...": one statement)
	@$(PY) -m include.local.demo sql $(if $(SQL),"$$SQL")

demo-status: .venv/.made ## print the running demo's status as JSON
	@$(PY) -m include.local.demo status

demo-stop: .venv/.made ## stop a demo whose terminal is gone
	@$(PY) -m include.local.demo stop

demo-clean: .venv/.made ## stop the demo and remove its data
	@$(PY) -m include.local.demo clean

# --- AWS ---------------------------------------------------------------------

.PHONY: deploy deploy-local destroy
deploy: .venv/.made ## create the AWS stack or bring it up to date (ARGS="--yes --parameter NAME=VALUE")
	@$(PY) -m include.aws deploy $(ARGS)

deploy-local: .venv/.made ## create or update the stack on the emulator of a running demo
	@AWS_ENDPOINT_URL=http://127.0.0.1:$${LOCAL_AWS_PORT:-14566} AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test \
		$(PY) -m include.aws deploy --yes $(ARGS)

destroy: .venv/.made ## delete the AWS stack; bucket and Glue database stay (ARGS="--delete-data BUCKET": they go too)
	@$(PY) -m include.aws destroy $(ARGS)

# --- checks ------------------------------------------------------------------

# The files in the folders $(1), at any depth.
files_in = $(foreach path,$(wildcard $(addsuffix /*,$(1))),$(call files_in,$(path)) $(path))
MANIFEST := include/dbt/target/manifest.json
DBT_FILES := $(wildcard include/dbt/*) $(call files_in,$(filter-out %/target %/logs,$(wildcard include/dbt/*)))
$(MANIFEST): .venv/.made $(filter %.sql %.yml %.csv %.md,$(DBT_FILES))
	@DBT_SEND_ANONYMOUS_USAGE_STATS=false WAREHOUSE_TARGET=ci .venv/bin/dbt --quiet parse --warn-error \
		--project-dir include/dbt --profiles-dir include/dbt
	@touch $@

.PHONY: lint
lint: env $(MANIFEST) ## ruff, mypy, generated parts, shellcheck, sqlfluff, dbt's own warnings, dbt-bouncer, prose
	@.venv/bin/ruff check .
	@$(PY) -m include.generated --check
	@.venv/bin/ruff format --check .
	@.venv/bin/lint-imports --no-cache --no-logo
	@.venv/bin/mypy
	@.venv/bin/shellcheck .ci/run include/local/*.sh
	@.venv/bin/sqlfluff lint include/dbt/models include/dbt/tests include/dbt/analyses include/dbt/snapshots --disable-progress-bar
	@.venv/bin/dbt-bouncer run --config-file include/dbt/dbt-bouncer.yml --show-all-failures
	@$(PY) -m tests.prose

PYTEST := .venv/bin/pytest -q
TEST_ENV := env $(MANIFEST) .local/aws-lint/.made
# Each suite has its own process, because Airflow, dbt and the servers' settings leave global state. Two suites run at
# once, because a suite waits for its servers half of the time. The long suites begin first.
SUITES := unit compatibility integration athena scheduler packaging warehouse dags aws chaos
TEST_JOBS ?= 2
.PHONY: test test-changed test-fast test-dags test-alerts test-athena test-aws chaos bench bench-landing bench-warehouse bench-latency
test: $(TEST_ENV) $(if $(filter athena,$(SUITES)),.local/trino-jars/.made) ## every test; starts the servers it needs (TEST_JOBS=2: suites at once)
	@$(MAKE) --no-print-directory -k -j$(TEST_JOBS) $(SUITES:%=suite-%)

test-changed: .venv/.made ## the suites that your change concerns (PRINT=1: only name them)
	@suites=$$($(PY) -m tests.changed) && echo "$$suites" $(if $(PRINT),,&& $(MAKE) --no-print-directory test SUITES="$$suites")

# A suite's output is kept in .local/test and shown when the suite has ended, so that two outputs do not mix. It ends
# with the slowest tests. Compiled code is kept even where the machine forbids it, because a suite starts up to hundreds
# of processes, and each would compile include/ again.
suite-%:
	@mkdir -p .local/test; echo "== tests/$* begins"; SECONDS=0; verdict=passed; \
	PYTHONDONTWRITEBYTECODE= $(PYTEST) --durations=10 --durations-min=5 tests/$* >.local/test/$*.log 2>&1 || verdict=FAILED; \
	cat .local/test/$*.log; echo "== tests/$* $$verdict in $$SECONDS s"; test $$verdict = passed

test-fast: $(TEST_ENV) ## the tests that are not marked `slow`; they do not need Trino
	@$(PYTEST) -m "not slow"

test-dags: $(TEST_ENV) ## the DAGs: import, policy, graph, and runs
	@$(PYTEST) tests/dags

test-alerts: $(TEST_ENV) ## produce every alert condition under a real scheduler
	@$(PYTEST) tests/scheduler

test-athena: $(TEST_ENV) .local/trino-jars/.made ## the dbt project on Athena's engine: dbt-athena against a real Trino
	@$(PYTEST) tests/athena

test-aws: $(TEST_ENV) ## the AWS template: linters, a deployment to the emulator, drift and policies
	@$(PYTEST) tests/aws

chaos: env ## ten seeds of kills, stalls and S3 faults on real Kafka; the last line is the summary
	@$(PY) -m tests.chaos --seeds 10

# Peers of the benchmark: Go modules locked by go.sum, Quix Streams by requirements/quix.txt.
GO_PEERS := benthos bento native
.local/bench/versitygw $(GO_PEERS:%=.local/bench/%): .local/bench/%: benchmarks/landing/peers/%/go.sum
	@command -v go >/dev/null || { echo "benchmark: building $* needs Go 1.25 or later" >&2; exit 1; }
	@echo "benchmark: building $* with Go (about three minutes, once)"
	@mkdir -p $(@D)
	@go build -C $(<D) -mod=readonly -buildvcs=false -o $(CURDIR)/$@ $(if $(filter versitygw,$*),github.com/versity/versitygw/cmd/versitygw,.)
$(GO_PEERS:%=.local/bench/%): .local/bench/%: benchmarks/landing/peers/%/main.go

# Distributions and Docker's image, which the consumer runs on, build Python with profile-guided optimization. With a
# Python that pyenv compiled by default our consumer takes 9 to 15 % more CPU, so the distribution's Python is used.
BENCH_PYTHON ?= $(firstword $(wildcard /usr/bin/python3.12 /usr/bin/python3.11 /usr/bin/python3.13) >=3.11,<3.14)

.local/bench/python/.made .local/bench/quix/.made: .local/bench/%/.made: | $(UV)
	@$(UV) venv -q --clear --python '$(BENCH_PYTHON)' $(@D)
	@include/local/packages.sh sync $(@D) $< --compile-bytecode
	@touch $@
.local/bench/python/.made: requirements/ingest.txt
.local/bench/quix/.made: requirements/quix.txt

# A chosen benchmark builds only what it needs; the S3 server and the peers need Go. BENCH is empty for all.
BENCH ?=
LANDING_PEERS := $(GO_PEERS:%=.local/bench/%) .local/bench/quix/.made .local/bench/python/.made
needed_by = $(if $(if $(BENCH),$(filter $1,$(BENCH)),all),$2)
bench: env $(MANIFEST) $(call needed_by,landing listing warehouse audit,.local/bench/versitygw)
bench: $(call needed_by,trino,.local/trino-jars/.made)
bench: $(call needed_by,landing,$(LANDING_PEERS)) ## benchmarks against their bounds; writes docs/performance.md (BENCH="landing page")
	@verdict=0; $(PY) -m benchmarks $(BENCH) || verdict=$$?; $(PY) -m benchmarks.report; exit $$verdict

bench-landing bench-warehouse bench-latency: bench-%:
	@$(MAKE) --no-print-directory bench BENCH=$*

SOAK_MINUTES ?= 60
SOAK ?=
.PHONY: soak
soak: env ## what the demo's programs use in an hour (SOAK_MINUTES=60; SOAK=--keep for the page)
	@$(PY) -m benchmarks.soak --minutes $(SOAK_MINUTES) $(SOAK)

.PHONY: report
report: .venv/.made ## write the running demo's Pipeline Health as one HTML file, to S3 and to its folder
	@$(PY) -m include.local.report

.PHONY: screenshots
screenshots: .venv/.made ## renew the README's pictures from a running demo (needs a browser)
	@$(PY) -m include.local.screenshots

.PHONY: generate
generate: .venv/.made ## write the generated parts of docs and AWS template (CHECK=1: only compare)
	@$(PY) -m include.generated $(if $(CHECK),--check)
