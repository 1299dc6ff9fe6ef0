# Everything a contributor runs. Needs Go, make and git; nothing else has to be installed by hand.
#
#   make test    unit and black-box tests, with the race detector where there is a C compiler
#   make lint    golangci-lint, gofumpt, go vet, deadcode; pinned under tools/, built on first use
#   make fuzz    the fuzz targets of the packages that changed (FUZZ_BASE, FUZZ_COUNT)
#   make bench   benchmarks in benchstat's format (BENCH, BENCH_COUNT)
#   make build   the static binary, bin/sfbroker
#   make fmt     gofumpt -w
#   make clean   remove what make built

GO ?= go

# -trimpath everywhere: a fresh clone in another folder then reuses the build cache, and no
# path of the machine that built it ends up in the binary.
export GOFLAGS := $(strip $(filter-out -trimpath,$(shell $(GO) env GOFLAGS)) -trimpath)

TEST_TIMEOUT ?= 7m
# Packages tested at a time: many of their tests wait for a process or a socket, so more than there are cores.
TEST_PACKAGES ?= 4
FUZZ_COUNT   ?= 20000
BENCH        ?= .
BENCH_COUNT  ?= 6
PKGS         ?= ./...

.PHONY: help test peers lint vet fmt-check golangci-lint deadcode tools fuzz bench build fmt clean

help:
	@sed -n 's/^#   //p' Makefile

# -shuffle=on makes go run every test each time; compiled test binaries are still cached.
test: peers
	$(GO) test $$(GO="$(GO)" tools/race.sh) -shuffle=on -p $(TEST_PACKAGES) -timeout=$(TEST_TIMEOUT) $(PKGS)

peers:
	@tools/peers.sh

lint: fmt-check vet golangci-lint deadcode

vet:
	$(GO) vet $(PKGS)

fmt-check: .bin/gofumpt
	@out=$$(.bin/gofumpt -l .) || exit 1; \
	if [ -n "$$out" ]; then echo "gofumpt would change (run make fmt):"; echo "$$out"; exit 1; fi; \
	echo "gofumpt: ok"

golangci-lint: .bin/golangci-lint
	.bin/golangci-lint run $(PKGS)

# -test keeps what only tests reach; anything that neither a main nor a test reaches is reported.
deadcode: .bin/deadcode
	@out=$$(.bin/deadcode -test $(PKGS)) || exit 1; \
	if [ -n "$$out" ]; then echo "unreachable from every main and every test:"; echo "$$out"; exit 1; fi; \
	echo "deadcode: ok"

fmt: .bin/gofumpt
	.bin/gofumpt -w .

tools: .bin/golangci-lint .bin/gofumpt .bin/deadcode

# One module a tool, so that no tool's requirements reach ours; go.sum pins it.
.bin/%: tools/%/go.mod tools/%/go.sum
	@mkdir -p .bin
	@echo "building $* (once; minutes for golangci-lint when the build cache is cold)"
	cd tools/$* && $(GO) build -o ../../$@ tool

fuzz:
	@GO="$(GO)" FUZZ_COUNT=$(FUZZ_COUNT) tools/fuzz.sh

bench:
	@pkgs=$$(git grep -l --untracked '^func Benchmark' -- '*_test.go' | xargs -r -n1 dirname | sort -u | sed 's,^,./,'); \
	if [ -z "$$pkgs" ]; then echo "no benchmarks"; exit 0; fi; \
	$(GO) test -run='^$$' -bench='$(BENCH)' -benchmem -count=$(BENCH_COUNT) -timeout=30m $$pkgs

build:
	CGO_ENABLED=0 $(GO) build -ldflags='-s -w' -o bin/sfbroker ./cmd/sfbroker

clean:
	rm -rf bin .bin
