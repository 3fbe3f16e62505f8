# Common tasks. `make help` lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.PHONY: help demo down quick test parts check fmt-check lint unit build-tests jenkins swarm swarm-together swarm-alone swarm-nodes \
  nodes soak bench build release dist images image-director stack fmt openapi clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## set up the prerequisites and run a distributed JMeter test, from upload to figures
	@deploy/setup.sh all
	@deploy/setup.sh image-shell
	@deploy/run-long.sh "building the Director and atq" cargo build --locked --quiet
	@exec target/debug/demo

down: ## undo everything that `make demo` and `make test` have set up
	@deploy/down.sh

# `quick` runs a fixed sample of the sweeps and of the properties; `test` runs all cases. The seed is the same in each run.
QUICK := ATQ_TEST_SAMPLE=40 PROPTEST_CASES=64 PROPTEST_RNG_SEED=1 PROPTEST_DISABLE_FAILURE_PERSISTENCE=1

quick: fmt-check lint ## before each commit: formatting, lints, tests without Docker and root, with samples of the sweeps
	$(QUICK) ATQ_TEST_SWARM= cargo test --locked --no-fail-fast --workspace --exclude atq-tests

test: ## everything but the parts, also on the real Swarm; ends with a table of the stages
	@exec deploy/test.sh

parts: ## other Engines; writes the results to docs/reference/engines.md (about 30 minutes)
	@exec deploy/parts.sh

# Checks that need no test run: each is a target of its own, so that they can be called alone.
check: fmt-check lint ## formatting and lints

fmt-check:
	cargo fmt --all --check

lint:
	cargo clippy --locked --workspace --all-targets -- -D warnings

unit: ## tests without Docker; with a running Swarm also the suites that run on both
	ATQ_TEST_SWARM=$$(deploy/has-swarm.sh && echo 1 || true) cargo test --locked --no-fail-fast --workspace --exclude atq-tests
	cargo test --locked --workspace --lib --bins -- --exact none

swarm: ## tests on the real Swarm of this machine, and on a Swarm of three nodes
	@for verb in swarm programs image-testload image-jmeter image-discovery image-carrier image-director image-locust image-shell nodes \
	  registry browser strangers gitlab-ci-local; do deploy/setup.sh $$verb || exit; done
	@$(MAKE) --no-print-directory --keep-going swarm-together swarm-alone swarm-nodes

jenkins: ## tests of the Jenkins step, and of the script for agents without atq
	@deploy/jenkins/test.sh

nodes: ## the tests on a three-node Swarm in network namespaces (about 7 minutes)
	@deploy/setup.sh nodes
	@deploy/setup.sh image-testload
	@deploy/setup.sh image-discovery
	@deploy/setup.sh image-carrier
	cargo build --locked -p atq-director
	cargo test --locked -p atq-tests --test nodes -- --test-threads=1

soak: ## 100 short tasks while the Director is killed 20 times, then a check for leftovers (about 7 minutes)
	@deploy/setup.sh all
	@deploy/run-long.sh "building the Director" cargo build --locked --quiet
	@exec target/debug/soak $(SOAK)

bench: ## compare with direct calls of Docker's API; prints a table (about 15 minutes)
	@deploy/setup.sh all
	@deploy/run-long.sh "building with optimisation" cargo build --release --locked --quiet
	@exec target/release/bench

build: ## build everything for development
	cargo build --locked --workspace

release: ## build target/release/atq-director
	cargo build --release --locked -p atq-director

dist: ## static binaries with link-time optimisation, in target/dist-bin
	deploy/dist.sh

images: ## build the images for tests and the demo
	@deploy/setup.sh images

image-director: ## build the image of the Director, from a static binary
	@deploy/setup.sh image-director

stack: ## deploy the Director as a stack on this Swarm, run a task from inside its container, remove it
	@deploy/setup.sh all
	@deploy/setup.sh image-director
	@deploy/stack-check.sh

fmt: ## format the code
	cargo fmt --all

openapi: ## write api-spec/openapi.json and the tables in docs/reference/definition.md anew from the code
	ATQ_UPDATE_OPENAPI=1 cargo test --locked -p atq-director --test api it_is_what_is_committed

clean: ## remove build output
	cargo clean
