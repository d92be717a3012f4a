# The everyday commands. A fresh machine needs Go, git and make: what else a
# target needs, scripts/need.sh installs on Debian (as root or with sudo), or
# says how to.

GO       ?= go
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS  := -s -w -X main.version=$(VERSION)
SHELLS   := $(wildcard scripts/*.sh .ci/run observe/probe/*.sh internal/fleetsim/machine/*.sh)
RULES    := deploy/prometheus/alerts.yaml
# Packages that start goroutines or share state; the race detector is slow.
RACE     := ./internal/localpg/... ./internal/config/... ./internal/sdnotify/... ./internal/tcpfault/... ./internal/fleetsim/... \
	./observe/... ./platform/... ./notify/... ./store/... ./traffic/... ./reconcile/... ./admin/... ./desired/... ./metrics/... ./cmd/...
LINTER   := bin/golangci-lint
SOAKING  := ^Benchmark(Soak|PassTenThousand|DaemonTenThousand|Takeover|PauseElsewhere|Detection|Backlog.*|Torture|Storm)$$
CHECKS   := test vet lint race arch shellcheck rules static

.DEFAULT_GOAL := help
.PHONY: help demo build test check bench bench-soak vet lint race arch shellcheck rules static fuzz image

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: build ## the whole product on this machine, with nothing configured
	@scripts/need.sh --try postgresql
	bin/reconciler demo

build: ## one static binary, bin/reconciler
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/reconciler ./cmd/reconciler

test: ## every test
	@scripts/need.sh postgresql dash busybox
	@scripts/need.sh --try pgbouncer nginx caddy
	$(GO) test -timeout 40m ./...

check: ## all that CI runs, with the time that each takes
	@for step in $(CHECKS); do \
		echo "== make $$step"; began=$$(date +%s); \
		$(MAKE) --no-print-directory $$step || exit 1; \
		echo "== make $$step: $$(( $$(date +%s) - began )) s"; \
	done

bench: ## the benchmarks, once each, but those of bench-soak: some minutes
	@scripts/need.sh postgresql
	$(GO) test -run '^$$' -bench . -skip '$(SOAKING)' -benchtime 1x -benchmem ./...

bench-soak: ## the daemon in processes of its own: 500 passes, 10,000 workspaces, take-over: half an hour
	@scripts/need.sh postgresql dash busybox
	$(GO) test -run '^$$' -bench '$(SOAKING)' -benchtime 1x -timeout 90m ./cmd/reconciler ./observe/proxylog/follow

vet: ## go vet
	$(GO) vet ./...

lint: $(LINTER) ## golangci-lint, see .golangci.yml
	$(LINTER) run ./...

race: ## the concurrent packages' tests under the race detector
	@scripts/need.sh postgresql dash busybox gcc
	$(GO) test -race -short -timeout 30m $(RACE)

arch: ## who imports whom
	$(GO) test -count=1 ./internal/arch

shellcheck: ## the probe and our scripts
	@scripts/need.sh shellcheck
	shellcheck $(SHELLS)

rules: ## the alert rules: do they parse, does each fire when it should and only then
	@scripts/need.sh prometheus
	promtool check rules $(RULES)
	promtool test rules $(RULES:.yaml=_test.yaml)

static: build ## the binary needs no libraries, as the image promises
	@if ldd bin/reconciler >/dev/null 2>&1; then echo "bin/reconciler is dynamically linked:"; ldd bin/reconciler; exit 1; fi
	@echo "bin/reconciler is static: $$(du -h bin/reconciler | cut -f1)"

fuzz: ## every fuzz test for FUZZTIME (10s) each
	@$(GO) list -f '{{.Dir}}' ./... | while read -r dir; do \
		for f in $$(cat /dev/null "$$dir"/*_test.go 2>/dev/null | sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p'); do \
			$(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $${FUZZTIME:-10s} -fuzzminimizetime 1s "$$dir" || exit 1; \
		done; \
	done

image: ## the container image, with docker
	docker build --build-arg VERSION=$(VERSION) -t billing-reconciler:$(VERSION) .

# The linter's version and all it is made of are pinned by tools/go.sum.
# Building it takes minutes, once.
$(LINTER): tools/go.mod tools/go.sum
	@mkdir -p bin
	cd tools && $(GO) build -o ../$@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint
