# Every target sets up what it lacks; a second run downloads nothing. `make` alone lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
# Two processes, each with a Spark session, that take a file of tests at a time: what a file prepares is prepared once.
SIDE_BY_SIDE := -n $(or $(WORKERS),2) --dist loadfile --no-loadscope-reorder

.PHONY: help setup demo test test-long lint notebooks bench bench-relay test-spark40 test-duckdb test-alerts test-s3 test-deploy test-airflow mutate clean

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

setup: ## the Python environment in .venv and the jars in the cache folder; the other targets do it by themselves
	@tools/bootstrap.sh

demo: setup ## the main job, whole, on this machine: broker, stream, close, summary (KEEP=1: leave the console running)
	@$(BIN)/reco demo $(if $(KEEP),--console) $(ARGS)

test: setup ## the tests
	$(PYTEST) $(SIDE_BY_SIDE) -m "not long" $(ARGS)

test-long: export RECO_WORKLOADS ?= 5000
test-long: export RECO_STREAM_WORKLOADS ?= 2000
test-long: export RECO_COMPILED ?= 1
test-long: export RECO_CLOSE_BY ?= spark
test-long: setup ## the tests with many more generated workloads and kills (an hour)
	$(PYTEST) $(SIDE_BY_SIDE) $(ARGS)

mutate: setup ## every small change to a rule must be noticed by a test (ARGS=ownership. for one module)
	@tools/bootstrap.sh duckdb
	.venv-duckdb/bin/python -m tests.mutation $(ARGS) --hand-on build/survivors.txt
	$(BIN)/python -m tests.mutation --only-those-in build/survivors.txt

lint: setup ## ruff and mypy, both strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

notebooks: setup ## the notebooks anew, run over the demo's lake (ARGS='--lake DIR --set DAY=2026-10-16')
	$(BIN)/python tools/notebooks.py $(ARGS)

bench: ## speed and size against bare Spark and other tools; results go to bench/results
	@tools/bootstrap.sh bench
	.venv-bench/bin/python -m bench $(ARGS)

bench-relay: ## the outbox relay beside a bare loop: rate, latency, memory (ARGS=--rows 50000)
	@tools/bootstrap.sh bench
	.venv-bench/bin/python -m bench.relay $(ARGS)

test-spark40: export RECO_CLOSE_BY ?= spark
test-spark40: ## the tests of the rules and the close on pyspark 4.0
	@tools/bootstrap.sh spark40
	.venv-spark40/bin/python -m pytest -m "not long" tests/reco_rules tests/daily $(ARGS)

test-duckdb: ## the truth tables of the rules on DuckDB, without Spark; they must cover every branch of the rules
	@tools/bootstrap.sh duckdb
	.venv-duckdb/bin/python -m coverage run --source=reco_rules -m pytest -p tests.duckdb_engine tests/reco_rules $(ARGS)
	.venv-duckdb/bin/python -m coverage report --fail-under=100

test-alerts: setup ## the alert rules with promtool, which is fetched into the cache folder where it can be had
	@$(BIN)/python tools/promtool.py --fetch --version || [ $$? = 77 ]
	$(PYTEST) tests/alerts/test_alerts.py $(ARGS)

test-deploy: setup ## deploying, against moto's server, which is fetched into the cache folder where it can be had
	@$(BIN)/python tools/moto.py > /dev/null || [ $$? = 77 ]
	$(PYTEST) -m "not long" tests/deploy $(ARGS)

test-airflow: setup ## the DAG, with an Airflow of its own in the cache folder
	@$(BIN)/python tools/airflow_env.py > /dev/null || [ $$? = 77 ]
	$(PYTEST) -m "not long" tests/deploy/test_airflow.py $(ARGS)

test-s3: setup ## the lake on S3: moto's server behind a proxy that fails, and what each job asks for (minutes)
	@$(BIN)/python tools/moto.py || [ $$? = 77 ]
	$(PYTEST) tests/s3 $(ARGS)

clean: ## remove what make made in this folder (not the jars in the cache folder)
	rm -rf .venv .venv-* build dist ./*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage htmlcov .reco
