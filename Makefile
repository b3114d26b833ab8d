# `make` or `make help` lists the targets. Everything runs from a bare clone: the environment,
# the broker's jars and the emulator are made on first use and kept in .venv and .local.
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
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | awk -F'\t' '{printf "  %-18s %s\n", $$1, $$2}'

# --- environment -------------------------------------------------------------

$(UV):
	@include/local/bootstrap.sh $(UV_VERSION)

.venv/.made: requirements/dev.txt | $(UV)
	@echo "environment: installing $$(grep -cE '^[a-zA-Z]' requirements/dev.txt) locked packages into .venv"
	@test -x $(PY) || $(UV) venv -q --python '>=3.11,<3.14' .venv
	@$(UV) pip sync -q --require-hashes --python $(PY) requirements/dev.txt
	@touch $@

.local/emulator/.made: requirements/emulator.txt | $(UV)
	@echo "environment: installing the AWS emulator into .local/emulator"
	@test -x .local/emulator/bin/python || $(UV) venv -q --python '>=3.11,<3.14' .local/emulator
	@$(UV) pip sync -q --require-hashes --python .local/emulator/bin/python requirements/emulator.txt
	@touch $@

.local/kafka-jars/.made: include/local/kafka/pom.xml
	@include/local/kafka/fetch.sh $(@D)
	@if ls $(@D)/kafka_2.13-*.jar >/dev/null 2>&1; then touch $@; fi

.PHONY: env
env: .venv/.made .local/emulator/.made .local/kafka-jars/.made ## make the environment (Python, emulator, Kafka)

.PHONY: lock
lock: | $(UV) ## renew the hashed locks from requirements.txt and requirements/*.in
	@cd requirements && for name in ingest dev emulator; do \
		../$(UV) pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
			--custom-compile-command "make lock" $$name.in -o $$name.txt; done
