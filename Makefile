# The commands of the README. `make help` lists them; JOBS=4 makes more use of a larger machine.
.DEFAULT_GOAL := help
export JOBS ?= 2

.PHONY: help test parts long bench demo deploy image release-parts fmt lint

help: ## print the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1	\2/p' Makefile | expand -t 14

test: parts ## install the real parts, then run the whole gate
	@./tests/testbed/gate

release-parts:
	@./tests/testbed/install --release

parts: ## install the real programs that the tests run
	@./tests/testbed/install

long: parts release-parts ## the long suites; goes on where it was interrupted
	@./tests/testbed/long

bench: parts ## measure, side by side with the floor and with peers
	@./benches/run

demo: ## everything on loopback: no cluster, no registry, no Docker
	@cargo run --release --locked --jobs $(JOBS) -- demo

fmt: ## format the sources
	@cargo fmt

lint: ## the compiler's and clippy's opinion, as the gate asks for it
	@cargo clippy --all-targets --locked --jobs $(JOBS) -- -D warnings

deploy: ## write what is made from the chart, the alerts, the dashboards and the configuration's schema
	@PULLPROOF_WRITE=1 cargo test --locked --jobs $(JOBS) --quiet --test it -- --exact deploy::made::what_is_made_is_what_would_be_made docs::reference::the_reference_of_the_configuration_is_its_schema

image: release-parts ## the container image for both architectures, as an OCI layout in target/image
	@PATH="$${PULLPROOF_TESTBED:-$$HOME/.cache/pullproof-testbed}/bin:$$PATH" ZIG=zig ./deploy/image/build
