# Common tasks. `make help` lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.PHONY: help demo down quick test parts check fmt-check lint check-programs build-tests unit jenkins swarm swarm-together swarm-alone swarm-nodes \
  nodes soak bench build release dist images image-director tools outdated stack fmt openapi doc book deny clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## set up the prerequisites and run a distributed JMeter test, from upload to figures
	@deploy/setup.sh all
	@deploy/setup.sh image-shell
	@deploy/run-long.sh "building the Director and atq" cargo build --locked --quiet
	@exec target/debug/demo

down: ## undo everything that `make demo` and `make test` have set up
	@deploy/down.sh

# Cargo unifies the features of all packages of an invocation. Invocations that name the same packages share their build
# output.
TEST := deploy/static.sh cargo test --locked --workspace
# The suites of `atq-tests` need a Swarm; without them, this is the same set of packages and features.
WITHOUT_SWARM := --exclude atq-tests
# Programs that the tests start: those of the images.
PROGRAMS := $(or $(ATQ_TEST_PROGRAMS),$(or $(CARGO_TARGET_DIR),$(CURDIR)/target)/programs)
SWARM_TEST := ATQ_TEST_PROGRAMS=$(PROGRAMS) $(TEST)

quick: ## before each commit: formatting, lints, and tests without Docker and root, with samples of the sweeps
	@exec deploy/quick.sh

test: ## everything but the parts, also on the real Swarm; ends with a table of the stages
	@exec deploy/test.sh

parts: ## other Engines, many connections, examples of tools, and attacks; records the results in docs/reference/engines.md
	@exec deploy/parts.sh

check: fmt-check lint doc check-programs ## formatting, lints, the API documentation, and the programs without features of tests

fmt-check:
	cargo fmt --all --check

lint:
	cargo clippy --locked --workspace --all-targets -- -D warnings

# The tests start programs with the features of the test build; this checks those that users build.
check-programs:
	cargo check --locked --workspace

build-tests:
	$(TEST) --no-run

unit: ## tests without Docker; with a running Swarm also the suites that run on both
	@export ATQ_TEST_SWARM=$$(deploy/has-swarm.sh && echo 1 || true); status=0; \
	run() { echo "$(TEST) $$*"; $(TEST) --no-fail-fast "$$@" || status=1; }; \
	run --lib --bins; run $(WITHOUT_SWARM) --test '*'; run --doc; exit $$status

swarm: ## tests on the real Swarm of this machine, and on a Swarm of three nodes
	@deploy/setup.sh all
	@for command in programs image-director image-locust image-shell example-images nodes registry mosquitto browser openapi-clients gitlab-ci-local; do \
	  deploy/setup.sh $$command || exit; done
	@$(MAKE) --no-print-directory --keep-going swarm-together swarm-alone swarm-nodes

# These tests count all objects on the machine or are sensitive to its load, so no other test may run at the same time.
ALONE := fifteen_tasks_and_four_kills_leave_nothing no_volume_is_left_and_large_results_are_complete \
  every_example_passes_with_the_commands_of_its_readme twenty_tasks_run_at_once_while_reads_are_answered

swarm-together:
	$(SWARM_TEST) --test swarm -- --test-threads=2 $(addprefix --skip ,$(ALONE))

swarm-alone:
	$(SWARM_TEST) --test swarm -- --test-threads=1 $(ALONE)

swarm-nodes:
	$(SWARM_TEST) --test nodes

jenkins: ## tests of the Jenkins step, and of the script for agents without atq
	@deploy/jenkins/test.sh

nodes: ## the tests on a three-node Swarm in network namespaces (about 7 minutes)
	@for command in nodes image-testload image-discovery image-carrier programs; do deploy/setup.sh $$command || exit; done
	$(SWARM_TEST) --test nodes -- --test-threads=1

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

tools: ## run the examples of tools, and compare their reports with the counters of a server (about 5 minutes)
	@deploy/setup.sh all
	@for command in programs image-web image-vegeta image-wrk image-gatling image-artillery; do deploy/setup.sh $$command || exit; done
	@exec deploy/tools-check.sh

outdated: ## show which tools in the images are behind their newest release
	@images/outdated.sh

stack: ## deploy the Director as a stack on this Swarm, run a task from inside its container, remove it
	@deploy/setup.sh all
	@deploy/setup.sh image-director
	@deploy/stack-check.sh
	@deploy/stack-check.sh --tls

fmt: ## format the code
	cargo fmt --all

openapi: ## write api-spec/openapi.json and the tables in docs/reference/definition.md anew from the code
	ATQ_UPDATE_OPENAPI=1 cargo test --locked -p atq-director --test api the_description_equals_the_committed_file

doc: ## API documentation of all crates, in target/doc; fails on a warning
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --quiet

book: ## the book, in target/book; fails on a warning, and on a link that leads nowhere
	@deploy/cargo-tool.sh mdbook
	@deploy/book.sh
	cargo test --locked --quiet -p atq-director --test docs -- --ignored

deny: ## licences, duplicates and sources of all dependencies (deny.toml)
	@deploy/cargo-tool.sh cargo-deny
	"$${CARGO_TARGET_DIR:-target}"/tools/cargo-deny --locked check licenses bans sources

clean: ## remove build output
	cargo clean
