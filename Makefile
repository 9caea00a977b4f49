# A short front door to CMake. `make help` lists what it offers; build trees lie in build/<preset>.
#
#   JOBS=N       processes at once (default: one a CPU)
#   WERROR=1     warnings are errors
#   DOTK_DATA=D  folder of real data sets; tests that need one skip without it

JOBS ?= $(shell nproc 2>/dev/null || echo 2)
WERROR ?= 0
PREFIX ?= /usr/local
export CMAKE_BUILD_PARALLEL_LEVEL = $(JOBS)
export CTEST_PARALLEL_LEVEL = $(JOBS)

QUESTION = What happens to an attention row when every key is masked?
DOCUMENTS = README.md ARCHITECTURE.md CONTRIBUTING.md doc

# torch's build without CUDA: PyPI has the one with, its authors' own index both.
torch = torch==2.13.0+cpu
install_torch = @$(1)/bin/pip -q install $(torch) 2>/dev/null || \
    $(1)/bin/pip -q install $(torch) --index-url https://download.pytorch.org/whl/cpu
searchers = faiss-cpu==1.15.1 usearch==2.26.6 numpy==2.4.6 threadpoolctl==3.8.0

# Our own make must not hand its job server to the one that cmake calls.
cmake = env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS cmake
configure = $(cmake) --preset $(1) -DDOTK_WERROR=$(WERROR) $(if $(DOTK_DATA),-DDOTK_DATA=$(DOTK_DATA)) \
    $(if $(wildcard build/python/bin/pytest),-DDOTK_PYTHON=$(CURDIR)/build/python/bin/python) >build/$(1).log || { cat build/$(1).log; exit 1; }
build = @mkdir -p build; $(call configure,$(1)); $(cmake) --build --preset $(1) $(2)
tests = ctest --preset $(1)

.PHONY: help run build python wheel test test-long test-clang test-asan test-ubsan test-tsan test-aarch64 bench bench-exact \
        bench-attention bench-peers bench-python data bench-report pictures lint format check-codegen fuzz fuzz-long fuzz-coverage mutants coverage install clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1 \2/p' Makefile | awk '{ printf "  make %-16s", $$2; $$1 = $$2 = ""; print $$0 }'

run: build ## build dotk, search its documents for a question, show the worked example
	@echo
	@echo '$$ dotk grep "$(QUESTION)" $(DOCUMENTS)'
	@build/release/dotk grep -k 3 "$(QUESTION)" $(DOCUMENTS)
	@echo
	@echo '$$ dotk attend --example'
	@build/release/dotk attend --example

build: ## install what is missing and build into build/release
	@tools/install-deps build
	$(call build,release)

# RIVALS=1 adds the libraries whose faces dotk wears, for the tests that compare with them.
python: ## an environment for the Python tests in build/python, from PyPI (RIVALS=1: torch, faiss, too)
	@tools/install-deps build python
	@python3 -m venv build/python
	@build/python/bin/pip -q install numpy==2.4.6 pytest==9.2.0 hypothesis==6.170.15 mypy==2.4.1 \
	    abi3audit==0.0.26 ml_dtypes==0.5.4
ifeq ($(RIVALS),1)
	@build/python/bin/pip -q install faiss-cpu==1.15.1 scikit-learn==1.9.1
	$(call install_torch,build/python)
endif

wheel: ## install the Python package from nothing but PyPI and a compiler, and look at the wheel
	@tools/install-deps build python
	@tools/check-wheel

test: ## the tests, at every instruction set that this machine has
	@tools/install-deps build test
	$(call build,release)
	@$(call tests,release)

test-long: ## the tests that take minutes
	@tools/install-deps build test
	$(call build,release)
	@$(call tests,release) -C Long -L long

test-clang: ## the tests, built by clang
	@tools/install-deps build test lint
	$(call build,clang)
	@$(call tests,clang)

test-asan: ## the tests under the address and undefined-behaviour sanitizers
	@tools/install-deps build test
	$(call build,asan)
	@$(call tests,asan)

test-ubsan: ## the tests under clang's undefined-behaviour sanitizer
	@tools/install-deps build test lint fuzz
	$(call build,ubsan)
	@$(call tests,ubsan)

test-tsan: ## the tests under the thread sanitizer
	@tools/install-deps build test
	$(call build,tsan)
	@$(call tests,tsan)

test-aarch64: ## kernels, codec and search built for aarch64 and run under qemu, if apt-get has them
	@mkdir -p build
	@tools/install-deps build cross && tools/sysroot-aarch64 build/sysroot-aarch64 || \
	    { echo "skipped: no compiler, emulator or libraries for aarch64"; exit 0; }; \
	$(call configure,aarch64); $(cmake) --build --preset aarch64 && $(call tests,aarch64)

bench: ## time search, attention and dense layers beside the machine's yardsticks
	@tools/install-deps build bench
	$(call build,release)
	@bench/run build/release

bench-exact: ## time exact search beside faiss, USearch and numpy
	@tools/install-deps build bench
	$(call build,release)
	$(if $(DOTK_DATA),@tools/prepare-data build/release)
	@python3 -m venv build/peers
	@build/peers/bin/pip -q install $(searchers)
	@build/peers/bin/python bench/exact.py build/release/libdotk.so

bench-attention: ## time attention beside PyTorch
	@tools/install-deps build bench
	$(call build,release)
	@python3 -m venv build/peers
	@build/peers/bin/pip -q install numpy==2.4.6
	$(call install_torch,build/peers)
	@build/peers/bin/python bench/beside_torch.py build/release/libdotk.so

bench-peers: ## time the Python module beside its rivals (QUICK=1: small cases, nothing written)
	@tools/install-deps build bench python peers
	$(call build,release,--target dotk-shared)
	@python3 -m venv build/peers
	@build/peers/bin/pip -q install $(searchers) hnswlib==0.8.0 sqlite-vec==0.1.9 apsw==3.54.1.0 \
	    matplotlib==3.11.2
	$(call install_torch,build/peers)
	@build/peers/bin/pip -q install .
	@build/peers/bin/python bench/peers.py build/release/libdotk.so $(if $(QUICK),--quick)

bench-python: python ## time calls from Python beside those from C
	$(call build,release)
	@build/python/bin/python bench/python_calls.py build/release

data: ## the sets of DOTK_DATA as files that dotk reads, in build/data
	@tools/install-deps build bench
	$(call build,release)
	@tools/prepare-data build/release

bench-report: ## write the tables of doc/benchmarks.md from bench/results, and draw its pictures
	@$(or $(wildcard build/peers/bin/python),python3) bench/report

pictures: ## draw the pictures of the documents
	$(call build,release)
	@tools/pictures build/release

lint: ## layers, symbols, formatting, headers, planted bugs, tables, code in documents
	@tools/install-deps build lint
	$(call build,release)
	@tools/lint/run build/release

format: ## reformat the sources with clang-format
	@tools/install-deps lint
	@git ls-files '*.c' '*.h' | xargs clang-format -i

check-codegen: ## count FMAs, prefetches and spills in the kernels' machine code
	@tools/install-deps build lint
	$(call build,release,--target dotk-objects)
	$(call build,clang,--target dotk-objects)
	@tools/check-codegen build/release build/clang

fuzz: ## every fuzz target for half a minute
	@tools/install-deps build lint fuzz
	$(call build,fuzz)
	@tools/fuzz build/fuzz 30

fuzz-long: ## every fuzz target for ten minutes
	@tools/install-deps build lint fuzz
	$(call build,fuzz)
	@tools/fuzz build/fuzz 600

fuzz-coverage: ## lines of each reader that the fuzz corpora reach
	@tools/install-deps build lint fuzz
	@fuzz/coverage.sh

mutants: ## plant known bugs, one after the other, and see each one caught
	@tools/install-deps build test
	@tools/mutants/run

coverage: ## lines and branches that the tests reach
	@tools/install-deps build test cover
	$(call build,coverage)
	@$(call tests,coverage)
	@gcovr --root . --filter src/ --filter faces/ --print-summary build/coverage >build/coverage.txt
	@tail -n 4 build/coverage.txt; echo "by file: build/coverage.txt"

install: ## build and install below PREFIX (default /usr/local)
	@tools/install-deps build
	$(call build,release)
	@cmake --install build/release --prefix $(PREFIX)

clean: ## remove build/
	rm -rf build
