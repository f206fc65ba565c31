# What a person types. Everything works straight after git clone: what the
# machine lacks is installed by scripts/setup (as root) or named.

SHELL := /bin/sh
GO ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION)

.DEFAULT_GOAL := build
.PHONY: build demo demo-serve test oracle reference bench faults mutate lint clean setup help

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' Makefile | while IFS='|' read -r name text; do printf '  %-10s %s\n' "$$name" "$$text"; done

build: ## bin/leastwise
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/leastwise ./cmd/leastwise

setup: ## install the Debian packages that the lab and the tests need
	@scripts/setup

demo: ## a real forest on loopback, assessed: build/report.html (KEEP=1 leaves the forest running)
	@scripts/demo

demo-serve: ## the server: a membership of Domain Admins for a minute, asked for, approved, observed, used, proved
	@scripts/demo-serve

test: ## everything: lint, unit tests, tests against a real directory, browser tests
	@scripts/test

oracle: setup ## effective rights against a real directory in full: 24,000 pairs, 4,000 operations
	LEASTWISE_REQUIRE_LAB=1 LEASTWISE_ORACLE=full $(GO) test -v -timeout 60m -run TestDirectoryAgrees ./internal/reach

reference: ## every account of forests of 10,000 and 100,000 objects against the reference evaluator
	LEASTWISE_WHOLE=1 LEASTWISE_OBJECTS=10000 $(GO) test -v -timeout 60m -run TestReachOfGeneratedForest ./internal/reach
	LEASTWISE_WHOLE=1 LEASTWISE_OBJECTS=100000 LEASTWISE_GROUPS=0 $(GO) test -v -timeout 60m -run TestReachOfGeneratedForest ./internal/reach

bench: setup ## the measurements of docs/BENCHMARKS.md
	@scripts/bench

faults: ## grants while everything around them fails: 2,000 runs on each database (RUNS=, SEED=)
	@scripts/faults

mutate: ## break each rule of effective control in turn: the tests must notice
	@scripts/mutate

lint: ## format, vet, staticcheck, golangci-lint, tidy
	@scripts/lint

clean: ## remove what was built here
	rm -rf bin build coverage.out
	find . -name node_modules -type d -prune -exec rm -rf {} +
