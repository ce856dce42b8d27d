# lorac: LoRA fine-tuning of Llama and Qwen2 models on CPUs.  `make help` lists the targets.
#
# CC CFLAGS CPPFLAGS LDFLAGS LDLIBS PREFIX DESTDIR are yours to set. SAN=address,undefined builds with
# sanitizers, V=1 shows the commands, BUILD=dir puts everything elsewhere.

VERSION  = 0.1.0
RELEASED = November 29, 2026
BUILD   ?= build
PREFIX  ?= /usr/local
CFLAGS  ?= -O2 -g
PKG_CONFIG ?= pkg-config
SHELL    = /bin/bash
.DEFAULT_GOAL = all
comma   := ,
MAKEFLAGS += --no-builtin-rules

# ---- probes: each can be overridden, e.g. OPENBLAS_LIBS=-lflexiblas ------------------------------
PACKAGES = openblas hdf5 yaml-0.1 jansson libpcre2-8 libutf8proc libcrypto zlib libzstd
probe    = $(shell $(PKG_CONFIG) $(1) $(2) 2>/dev/null)
HDF5_PC := $(shell for p in hdf5 hdf5-serial; do $(PKG_CONFIG) --exists $$p 2>/dev/null && echo $$p && break; done)
OPENBLAS_CFLAGS ?= $(call probe,--cflags,openblas)
OPENBLAS_LIBS   ?= $(call probe,--libs,openblas)
HDF5_CFLAGS     ?= $(call probe,--cflags,$(HDF5_PC))
HDF5_LIBS       ?= $(call probe,--libs,$(HDF5_PC))
YAML_CFLAGS     ?= $(call probe,--cflags,yaml-0.1)
YAML_LIBS       ?= $(call probe,--libs,yaml-0.1)
JANSSON_CFLAGS  ?= $(call probe,--cflags,jansson)
JANSSON_LIBS    ?= $(call probe,--libs,jansson)
PCRE2_CFLAGS    ?= $(call probe,--cflags,libpcre2-8)
PCRE2_LIBS      ?= $(call probe,--libs,libpcre2-8)
UTF8PROC_CFLAGS ?= $(call probe,--cflags,libutf8proc)
UTF8PROC_LIBS   ?= $(call probe,--libs,libutf8proc)
CRYPTO_CFLAGS   ?= $(call probe,--cflags,libcrypto)
CRYPTO_LIBS     ?= $(call probe,--libs,libcrypto)
ZLIB_CFLAGS     ?= $(call probe,--cflags,zlib)
ZLIB_LIBS       ?= $(call probe,--libs,zlib)
ZSTD_CFLAGS     ?= $(call probe,--cflags,libzstd)
ZSTD_LIBS       ?= $(call probe,--libs,libzstd)
# libcsv has no .pc file, so look for its header. Without libcsv (CSV_LIBS=) lorac reads no CSV.
CSV_LIBS        ?= $(shell echo '\#include <csv.h>' | $(CC) $(CPPFLAGS) $(CSV_CFLAGS) -E - >/dev/null 2>&1 && echo -lcsv)
# Without libedit (NO_EDIT=1, or where it is missing) chat reads lines as the terminal gives them.
ifndef NO_EDIT
EDIT_CFLAGS     ?= $(call probe,--cflags,libedit)
EDIT_LIBS       ?= $(call probe,--libs,libedit)
endif
CMOCKA_LIBS     ?= -lcmocka
# MPI=1: what the compiler wrapper of Open MPI, MPICH or another MPI adds, or else pkg-config.
# MPICC=mpicc.mpich chooses one, MPI_NAME names the program.
ifeq ($(MPI),1)
MPICC      ?= mpicc
MPI_NAME   ?= lorac_mpi
MPI_SHOWN  := $(filter -I% -L% -l% -Wl$(comma)% -pthread,$(shell { $(MPICC) --showme || $(MPICC) -show; } 2>/dev/null))
MPI_PC     := $(shell for p in ompi-c mpich mpi-c; do $(PKG_CONFIG) --exists $$p 2>/dev/null && echo $$p && break; done)
MPI_CFLAGS ?= $(if $(MPI_SHOWN),$(filter -I% -pthread,$(MPI_SHOWN)),$(call probe,--cflags,$(MPI_PC)))
MPI_LIBS   ?= $(if $(MPI_SHOWN),$(filter-out -I%,$(MPI_SHOWN)),$(call probe,--libs,$(MPI_PC)))
MPI_BIN     = $(BUILD)/$(MPI_NAME)
endif

DEP_CFLAGS = $(OPENBLAS_CFLAGS) $(HDF5_CFLAGS) $(YAML_CFLAGS) $(JANSSON_CFLAGS) $(PCRE2_CFLAGS) \
             $(UTF8PROC_CFLAGS) $(CRYPTO_CFLAGS) $(ZLIB_CFLAGS) $(ZSTD_CFLAGS) $(CSV_CFLAGS) $(if $(CSV_LIBS),-DLORAC_CSV) \
             $(if $(EDIT_LIBS),$(EDIT_CFLAGS) -DLORAC_EDIT)
DEP_LIBS   = $(OPENBLAS_LIBS) $(HDF5_LIBS) $(YAML_LIBS) $(JANSSON_LIBS) $(PCRE2_LIBS) \
             $(UTF8PROC_LIBS) $(CRYPTO_LIBS) $(ZLIB_LIBS) $(ZSTD_LIBS) $(CSV_LIBS) $(EDIT_LIBS)

# ---- flags ---------------------------------------------------------------------------------------
WARN = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wpointer-arith \
       -Wwrite-strings -Wformat=2 -Wundef
STD  = -std=gnu11 -ffp-contract=fast -fopenmp -pthread
ifdef SAN
SANFLAGS = -fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=all
# A failed allocation must come back as an error that we report and test, not end the program.
export ASAN_OPTIONS ?= allocator_may_return_null=1
WARN += $(if $(findstring clang,$(CC)),-Wno-pass-failed)
endif
# In a tar ball of `make dist`, .commit holds the commit; a repository around it is not ours.
GIT_HASH := $(if $(wildcard .git),$(shell git rev-parse --short HEAD 2>/dev/null),$(shell grep -xE '[0-9a-f]+' .commit 2>/dev/null))
ALL_CPPFLAGS = -I. -D_GNU_SOURCE -DH5_USE_110_API -DLORAC_VERSION='"$(VERSION)"' $(DEP_CFLAGS) $(CPPFLAGS)
ALL_CFLAGS   = $(STD) $(WARN) $(CFLAGS) $(SANFLAGS)
ALL_LDFLAGS  = -fopenmp -pthread $(SANFLAGS) $(LDFLAGS)
ALL_LIBS     = $(DEP_LIBS) -lm -ldl $(LDLIBS)

# ---- instruction sets: kernels/all.c is compiled once for each -----------------------------------
ARCH := $(shell $(CC) -dumpmachine 2>/dev/null | cut -d- -f1)
ifneq ($(filter x86_64 amd64,$(ARCH)),)
ISAS = base avx2 avx512
else ifneq ($(filter aarch64 arm64,$(ARCH)),)
ISAS = base neon
else
ISAS = base
endif
ISA_FLAGS_base   =
ISA_FLAGS_avx2   = -mavx2 -mfma -mf16c
ISA_FLAGS_avx512 = -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mf16c -mprefer-vector-width=512
ISA_FLAGS_neon   = -DKERNELS_NEON
# Instructions for pairs of bf16: kernels/pairs.c is compiled once for each, beside its set.
PAIRS = $(if $(filter avx512,$(ISAS)),avx512bf16)
ISA_FLAGS_avx512bf16 = $(ISA_FLAGS_avx512) -mavx512bf16 -DF32_SET=avx512
KERNEL_OPT = -O3 -g -fno-math-errno -fno-trapping-math

# ---- files ---------------------------------------------------------------------------------------
KERNEL_GLUE = isa blas storage
MPI_C     = src/train/ranks_mpi.c
SOURCES   = $(filter-out $(MPI_C),$(sort $(wildcard src/*/*.c)))
OBJECTS   = $(SOURCES:%.c=$(BUILD)/f32/%.o) $(ISAS:%=$(BUILD)/f32/kernels/all_%.o) $(PAIRS:%=$(BUILD)/f32/kernels/pairs_%.o) \
            $(KERNEL_GLUE:%=$(BUILD)/f32/kernels/%.o)
STEP      = learner gradsum objective ranks ranks_alone ranks_sum schedule
OBJECTS64 = $(patsubst %.c,$(BUILD)/f64/%.o,$(filter src/base/% src/model/% src/formats/% src/tokenizer/% src/data/%,$(SOURCES))) \
            $(STEP:%=$(BUILD)/f64/src/train/%.o) \
            $(BUILD)/f64/kernels/all_base.o $(KERNEL_GLUE:%=$(BUILD)/f64/kernels/%.o)
LIB       = $(BUILD)/liblorac.a
LIB64     = $(BUILD)/liblorac_f64.a
TESTS_C   = $(sort $(wildcard tests/test_*.c))
TESTS64_C = $(sort $(wildcard tests/f64_*.c))
TEST_BINS = $(TESTS_C:tests/%.c=$(BUILD)/tests/%) $(TESTS64_C:tests/%.c=$(BUILD)/tests/%)
TEST_SH   = $(sort $(wildcard tests/cli_*.sh))
FUZZ_C    = $(sort $(wildcard tests/fuzz/fuzz_*.c))
FUZZ_BINS = $(FUZZ_C:tests/fuzz/%.c=$(BUILD)/fuzz/%)
FUZZ_MORE = tests/fuzz/fuzz.c tests/fuzz/tokenize.c $(if $(FUZZER),,tests/fuzz/replay.c)
FUZZER    = $(if $(findstring fuzzer-no-link,$(SAN)),-fsanitize=fuzzer)

ifeq ($(V),1)
Q =
say = @:
else
Q = @
say = @printf '  %-5s %s\n'
endif

.PHONY: all deps check-deps test demo lint hooks bench interop clean help install uninstall dist deb ci-full \
        test-aarch64 test-mpi fuzz coverage torture valgrind FORCE

all: check-deps $(BUILD)/lorac $(MPI_BIN)

# A missing library is one line that names it and the remedy, not a page of compiler errors.
check-deps:
	@missing=; for p in openblas:"$(OPENBLAS_LIBS)" hdf5:"$(HDF5_LIBS)" libyaml:"$(YAML_LIBS)" \
	    jansson:"$(JANSSON_LIBS)" pcre2:"$(PCRE2_LIBS)" utf8proc:"$(UTF8PROC_LIBS)" libcrypto:"$(CRYPTO_LIBS)" \
	    zlib:"$(ZLIB_LIBS)" libzstd:"$(ZSTD_LIBS)"; do \
	  [ -n "$${p#*:}" ] || missing="$$missing $${p%%:*}"; done; \
	if [ -n "$$missing" ]; then echo "✗ not found:$$missing"; \
	  echo "  run 'make deps' (Debian, Ubuntu, Fedora), or see README.md for Spack and conda"; exit 1; fi
ifeq ($(MPI),1)
	@[ -n "$(strip $(MPI_LIBS))" ] || { echo "✗ MPI=1: found neither $(MPICC) nor ompi-c or mpich for pkg-config"; \
	  echo "  install libopenmpi-dev or libmpich-dev, load the module of an MPI, or give MPICC=PATH"; exit 1; }
endif
	@[ -n "$(CSV_LIBS)" ] || echo "- not found: libcsv; lorac is built without CSV ('make deps' installs it)"
	@[ -n "$(EDIT_LIBS)$(NO_EDIT)" ] || echo "- not found: libedit; chat is built without line editing ('make deps' installs it)"

deps:
	@scripts/install-deps && echo '✓ everything that lorac is built from is here'

# ---- rules ---------------------------------------------------------------------------------------
# The stamp changes when compiler or flags do; every object depends on it.
STAMP = $(BUILD)/flags
FLAGS_NOW = $(CC) | $(ALL_CPPFLAGS) | $(ALL_CFLAGS) | $(ALL_LDFLAGS) | $(ALL_LIBS)
$(STAMP): FORCE
	@mkdir -p $(@D); printf '%s\n' '$(subst ','\'',$(FLAGS_NOW))' | cmp -s - $@ || \
	  printf '%s\n' '$(subst ','\'',$(FLAGS_NOW))' >$@
FORCE:

$(BUILD)/f32/src/%.o: src/%.c $(STAMP)
	$(say) CC $<
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c $< -o $@

$(ISAS:%=$(BUILD)/f32/kernels/all_%.o): $(BUILD)/f32/kernels/all_%.o: kernels/all.c $(STAMP)
	$(say) CC "$< ($*)"
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) $(KERNEL_OPT) $(ISA_FLAGS_$*) -DISA=$* -MMD -MP -c $< -o $@

$(PAIRS:%=$(BUILD)/f32/kernels/pairs_%.o): $(BUILD)/f32/kernels/pairs_%.o: kernels/pairs.c $(STAMP)
	$(say) CC "$< ($*)"
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) $(KERNEL_OPT) $(ISA_FLAGS_$*) -DISA=$* -MMD -MP -c $< -o $@

$(BUILD)/f32/kernels/%.o: kernels/%.c $(STAMP)
	$(say) CC $<
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) $(ISAS:%=-DHAVE_ISA_%) $(PAIRS:%=-DHAVE_PAIRS_%) -MMD -MP -c $< -o $@

# The same sources in double precision, for gradient checks by finite differences.
$(BUILD)/f64/kernels/all_base.o: kernels/all.c $(STAMP)
	$(say) CC "$< (f64)"
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CPPFLAGS) -DREAL_DOUBLE $(ALL_CFLAGS) $(KERNEL_OPT) -DISA=base -MMD -MP -c $< -o $@

$(BUILD)/f64/kernels/%.o: kernels/%.c $(STAMP)
	$(say) CC "$< (f64)"
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CPPFLAGS) -DREAL_DOUBLE $(ALL_CFLAGS) -DHAVE_ISA_base -MMD -MP -c $< -o $@

$(BUILD)/f64/src/%.o: src/%.c $(STAMP)
	$(say) CC "$< (f64)"
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CPPFLAGS) -DREAL_DOUBLE $(ALL_CFLAGS) -MMD -MP -c $< -o $@

$(LIB): $(OBJECTS)
	$(say) AR $@
	@rm -f $@
	$(Q)$(AR) rcs $@ $^

$(LIB64): $(OBJECTS64)
	$(say) AR $@
	@rm -f $@
	$(Q)$(AR) rcs $@ $^

# main.c alone knows the git hash: a commit rebuilds it, and nothing else.
$(BUILD)/commit: FORCE
	@mkdir -p $(@D); echo '$(GIT_HASH) $(RELEASED)' | cmp -s - $@ || echo '$(GIT_HASH) $(RELEASED)' >$@
$(BUILD)/f32/src/main.o: src/main.c $(STAMP) $(BUILD)/commit
	$(say) CC $<
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -DLORAC_GIT='"$(GIT_HASH)"' -DLORAC_DATE='"$(RELEASED)"' -MMD -MP -c $< -o $@

$(BUILD)/lorac: $(BUILD)/f32/src/main.o $(LIB)
	$(say) LD $@
	$(Q)$(CC) $(ALL_LDFLAGS) $^ $(ALL_LIBS) -o $@

# One object more than lorac has, in the place of ranks_alone.o in the library.
ifeq ($(MPI),1)
MPI_O = $(BUILD)/mpi/$(MPI_NAME).o
MPI_FLAGS_NOW = $(MPICC) | $(MPI_CFLAGS) | $(MPI_LIBS)
$(BUILD)/mpi/$(MPI_NAME).flags: FORCE
	@mkdir -p $(@D); echo '$(MPI_FLAGS_NOW)' | cmp -s - $@ || echo '$(MPI_FLAGS_NOW)' >$@

$(MPI_O): $(MPI_C) $(STAMP) $(BUILD)/mpi/$(MPI_NAME).flags
	$(say) CC $<
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CPPFLAGS) $(MPI_CFLAGS) $(ALL_CFLAGS) -MMD -MP -c $< -o $@

$(MPI_BIN): $(BUILD)/f32/src/main.o $(MPI_O) $(LIB)
	$(say) LD $@
	$(Q)$(CC) $(ALL_LDFLAGS) $^ $(ALL_LIBS) $(MPI_LIBS) -o $@
endif

# `make static`: the same objects without shared libraries, for machines that have none of them. What
# the archives need beside the flags above is added where the compiler finds it.
STATIC_ALSO  = sz aec tinfo bsd md gfortran quadmath
STATIC_LIBS ?= $(ALL_LIBS) $(foreach l,$(STATIC_ALSO),$(if $(filter /%,$(shell $(CC) -print-file-name=lib$l.a)),-l$l))
# A function that is asked for by name is linked only if it is named here; MKL's are not in OpenBLAS.
STATIC_ROWS  = $(filter-out $(if $(findstring openblas,$(OPENBLAS_LIBS)),,openblas_%) $(if $(findstring mkl,$(OPENBLAS_LIBS)),,MKL_%) \
  $(if $(findstring blis,$(OPENBLAS_LIBS)),,bli_%) $(if $(findstring clang,$(CC)),,kmp_%),$(shell sed -n 's/^SYMBOL(\(.*\))/\1/p' src/base/symbols.def))
$(BUILD)/static/symbols.o: src/base/symbols.c src/base/symbols.def $(STAMP)
	$(say) CC "$< (static)"
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CPPFLAGS) -DLORAC_STATIC $(ALL_CFLAGS) -c $< -o $@

$(BUILD)/static/lorac: $(BUILD)/f32/src/main.o $(BUILD)/static/symbols.o $(LIB)
	$(say) LD $@
	$(Q)$(CC) -static $(ALL_LDFLAGS) $(STATIC_ROWS:%=-Wl,-u,%) $^ $(STATIC_LIBS) -o $@ 2> >(sed "/in function .H5PL__open/{N;/'dlopen'/d}" >&2)

$(BUILD)/tests/test_%: tests/test_%.c $(LIB)
	$(say) TEST $<
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -MMD -MP $< $(LIB) $(ALL_LDFLAGS) $(CMOCKA_LIBS) $(ALL_LIBS) -o $@

# It models an instruction for vectors of 64 bytes, which stay within it.
$(BUILD)/tests/test_bf16: ALL_CFLAGS += -Wno-psabi

$(BUILD)/tests/f64_%: tests/f64_%.c $(LIB64)
	$(say) TEST "$< (f64)"
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CPPFLAGS) -DREAL_DOUBLE $(ALL_CFLAGS) -MMD -MP $< $(LIB64) $(ALL_LDFLAGS) $(CMOCKA_LIBS) $(ALL_LIBS) -o $@

# Fuzz targets: with SAN=...,fuzzer-no-link libFuzzer drives them, otherwise tests/fuzz/replay.c.
$(BUILD)/fuzz/fuzz_%: tests/fuzz/fuzz_%.c $(FUZZ_MORE) tests/fuzz/fuzz.h tests/fuzz/tokenize.h $(LIB)
	$(say) FUZZ $<
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) $(FUZZER) $< $(FUZZ_MORE) $(LIB) $(ALL_LDFLAGS) $(ALL_LIBS) -o $@

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)

# ---- what people type ----------------------------------------------------------------------------
test:
	@scripts/install-deps --for test
	@$(MAKE) --no-print-directory all tests-run

.PHONY: tests-run tests-quick tests-build fuzz-build
tests-build: $(TEST_BINS) $(FUZZ_BINS)
fuzz-build: $(FUZZ_BINS)
tests-run: $(BUILD)/lorac $(TEST_BINS) $(FUZZ_BINS)
	@LORAC=$(BUILD)/lorac FUZZ=$(BUILD)/fuzz tests/run $(TEST_BINS) $(TEST_SH)

# For .ci/run, which runs all tests once: leave out those that take a third of the time and hardly
# depend on compiler or sanitizer.
LONG = f64_network f64_stories f64_attention test_kill test_torture cli_bench cli_demo cli_plan cli_scripts \
       cli_readme cli_watch
tests-quick: $(BUILD)/lorac $(TEST_BINS) $(FUZZ_BINS)
	@LORAC=$(BUILD)/lorac FUZZ=$(BUILD)/fuzz tests/run \
	  $(filter-out $(LONG:%=$(BUILD)/tests/%),$(TEST_BINS)) $(filter-out $(LONG:%=tests/%.sh),$(TEST_SH))

.PHONY: static
static: check-deps $(BUILD)/static/lorac

demo:
	@scripts/install-deps --for demo
	@$(MAKE) --no-print-directory all
	@LORAC=$(BUILD)/lorac scripts/demo

# This takes a quarter of an hour (with PyTorch an hour), and 5 GB of synthetic weights in the user's
# cache.
bench: all
	@$(BUILD)/lorac bench
	@$(BUILD)/lorac bench --shape 1.1b --parts steps --examples 1
	@$(BUILD)/lorac bench --shape 7b --layers 4 --parts steps --examples 1
	@$(BUILD)/lorac bench --compute bf16 --parts products,steps --tokens 128,512,2048
	@$(BUILD)/lorac bench --compute bf16 --shape 1.1b --parts steps --examples 1
	@$(BUILD)/lorac bench --compute bf16 --shape 7b --layers 4 --parts steps --examples 1
	@if [ -x "$${LORAC_VENV:-.venv}/bin/python" ]; then LORAC=$(BUILD)/lorac scripts/bench-peft; else \
	    echo '- beside PyTorch: skipped; scripts/setup-venv installs it for scripts/bench-peft'; fi

interop: all
	@LORAC=$(BUILD)/lorac scripts/interop

# Cross-build in $(BUILD)-aarch64 and run the tests in an emulator.
test-aarch64:
	@BUILD=$(BUILD)-aarch64 scripts/test-aarch64

# With each MPI that is there; MPI_KILLS=30: as often a rank is killed.
test-mpi: all
	@BUILD=$(BUILD) CC="$(CC)" CFLAGS="$(CFLAGS)" SAN=$(SAN) scripts/test-mpi

# On a Slurm that the test starts; several nodes where lorac_mpi is built (MPI=1). SLURM_FULL=1: also
# what takes Slurm minutes.
.PHONY: test-slurm
test-slurm: all
	@LORAC=$(BUILD)/lorac tests/run tests/slurm_jobs.sh

# FUZZ_SECONDS for each parser; FUZZ_TARGETS='gguf spm' chooses.
fuzz:
	@scripts/fuzz $(FUZZ_TARGETS)

# Show the lines and branches of the parsers that tests reach; GAPS=1 lists those that none takes.
COVERAGE = BUILD=build-cov CC=gcc ISAS=base CFLAGS='-O0 -g --coverage' LDFLAGS=--coverage \
           KERNEL_OPT='-O3 -fno-profile-arcs -fno-test-coverage'
COVER    = safetensors gguf peft h5 checkpoint base file config options records formats columns dataset \
           prepared numbers adapter translate tokenizer tokenizer_files tokenizer_gguf tokenizer_hf \
           tokenizer_nfc tokenizer_spm
coverage:
	@$(MAKE) --no-print-directory $(COVERAGE) build-cov/lorac fuzz-build $(COVER:%=build-cov/tests/test_%)
	@find build-cov -name '*.gcda' -delete
	@LORAC=build-cov/lorac FUZZ=build-cov/fuzz tests/run $(COVER:%=build-cov/tests/test_%) \
	  tests/cli_malformed.sh tests/cli_fuzz.sh tests/cli_usage.sh tests/cli_tokenize.sh tests/cli_data.sh \
	  tests/cli_convert.sh tests/cli_inspect.sh tests/cli_adapters.sh
	@scripts/coverage build-cov

lint:
	@scripts/lint

# From then on git calls the hooks of this repository, which check messages against the rules.
hooks:
	@git config core.hooksPath scripts/hooks && echo '✓ commit messages are checked by scripts/hooks/commit-msg'

# Let every call that can fail do so once, and be the process's last once. `make test` tries some.
TORTURE = $(BUILD)/tests/test_torture $(BUILD)/tests/test_kill
torture: $(TORTURE)
	@LORAC_TEST_STRIDE=1 tests/run $(TORTURE)

# Look for memory errors and leaks with valgrind, in tests that are neither long nor about processes.
# valgrind does not know AVX-512.
VALGRIND_TESTS ?= base config options term records template dataset pass safetensors gguf peft h5 \
                  tokenizer_files tokenizer_spm learner ranks generate numbers manifest
VALGRIND_BINS = $(VALGRIND_TESTS:%=$(BUILD)/tests/test_%)
valgrind: $(VALGRIND_BINS)
	@command -v valgrind >/dev/null || { echo '✗ valgrind is not installed'; exit 1; }
	@failed=; for t in $(VALGRIND_BINS); do \
	  LORAC_ISA=avx2 OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 OPENBLAS_CORETYPE=Haswell \
	  valgrind -q --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite \
	    --suppressions=tests/valgrind.supp $$t >$(BUILD)/valgrind.log 2>&1 \
	    && echo "✓ $${t##*/}" || { echo "✗ $${t##*/}"; grep -v '^\[ ' $(BUILD)/valgrind.log | head -60; failed=1; }; \
	done; [ -z "$$failed" ]

ci-full:
	@.ci/run full

# Man pages and completion come from the program's own tables. LORAC_HERE is a program that runs on
# this machine, if $(BUILD)/lorac is for another.
LORAC_HERE ?= $(BUILD)/lorac
COMMANDS    = $(shell sed -n 's/^COMMAND(\(.*\))/\1/p' src/commands/commands.def)
MAN         = $(BUILD)/share/man
$(BUILD)/share/lorac: $(BUILD)/lorac
	$(say) MAN $(MAN)
	@mkdir -p $(MAN)
	$(Q)$(LORAC_HERE) help man >$(MAN)/lorac.1 && $(LORAC_HERE) help man config >$(MAN)/lorac-config.5
	$(Q)for c in $(COMMANDS); do $(LORAC_HERE) help man $$c >$(MAN)/lorac-$$c.1 || exit; done
	$(Q)$(LORAC_HERE) help completion >$@

INSTALLED = PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' BUILD='$(BUILD)' VERSION='$(VERSION)' scripts/install-files
install: all $(BUILD)/share/lorac
	@$(INSTALLED) install
uninstall:
	@$(INSTALLED) uninstall

dist:
	@BUILD='$(BUILD)' VERSION='$(VERSION)' scripts/make-dist
deb: dist
	@BUILD='$(BUILD)' VERSION='$(VERSION)' scripts/build-deb

clean:
	rm -rf $(BUILD)

help:
	@echo 'make            build $(BUILD)/lorac'
	@echo 'make demo       install what is missing, build, train an adapter on a small real model, show the gain'
	@echo 'make test       install what is missing, build, run every test'
	@echo 'make deps       install the libraries (apt or dnf)'
	@echo 'make bench      kernels and whole steps of this machine, as shares of its limits'
	@echo 'make interop    compare with PyTorch, transformers, PEFT in a virtual environment'
	@echo 'make MPI=1      also $(BUILD)/lorac_mpi, whose ranks train together; MPICC= chooses an MPI'
	@echo 'make test-mpi   lorac_mpi with each MPI that is installed: the bits, errors, killed ranks'
	@echo 'make test-aarch64   cross-build for aarch64 and run the tests of kernels/ under qemu'
	@echo 'make test-slurm   the job scripts of scripts/slurm on a Slurm that the test starts (root)'
	@echo 'make fuzz       every parser with libFuzzer, FUZZ_SECONDS each (needs clang)'
	@echo 'make coverage   lines and branches of the parsers that tests reach (needs gcc)'
	@echo 'make torture    every call that can fail fails once; a kill at every one (long)'
	@echo 'make valgrind   the tests of parsers and of training under valgrind'
	@echo 'make lint       style, layers, banned functions, generated documents'
	@echo 'make hooks      check the messages of commits as they are made'
	@echo 'make install    program, man pages, completion, recipes: PREFIX=$(PREFIX) DESTDIR='
	@echo 'make uninstall  remove exactly that'
	@echo 'make dist       $(BUILD)/lorac-$(VERSION).tar.gz; make deb: a Debian package of it'
	@echo 'make static     $(BUILD)/static/lorac, which needs no shared library'
	@echo 'make clean      remove $(BUILD)'
	@echo 'Options: SAN=address,undefined  V=1  BUILD=dir  CC=clang  CFLAGS=...  NO_EDIT=1'
