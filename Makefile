# SPDX-License-Identifier: BSD-3-Clause
# tapmigrate. `make help` lists what there is to make; all of it lands in build/.

BUILD  ?= build
PREFIX ?= /usr/local
# Where xl looks for them.
XEN_SCRIPTS ?= /etc/xen/scripts
CC      = gcc
CFLAGS ?= -O2 -g
JOBS   ?= $(shell nproc)
# Test programs spend most of their time waiting for a disk.
TEST_JOBS ?= $(shell echo $$((4 * $$(nproc))))

WARN   := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	  -Wpointer-arith -Wvla -Wformat-security -Wno-unused-parameter
HARDEN := -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fstack-protector-strong \
	  -fstack-clash-protection -fPIE
# Lists link through their members (list.h), as in the kernel, and need the kernel's
# flag: gcc 12 was seen to keep a list's head in a register across list_del().
ALL_CFLAGS  := -std=gnu17 -fno-strict-aliasing $(WARN) $(if $(SANITIZE),,$(HARDEN)) $(CFLAGS) $(SANITIZE) \
	  -D_GNU_SOURCE -Iinclude -Idrivers -Idrivers/migrate -MMD -MP
ALL_LDFLAGS := $(if $(SANITIZE),,-pie -Wl,-z,relro,-z,now,-z,noexecstack) -Wl,--as-needed \
	  $(LDFLAGS) $(SANITIZE)

# What a fresh Debian or Ubuntu machine needs, for everything `make check`,
# `make lint`, `make demo` and `make bench` do.
PACKAGES := build-essential pkg-config clang clang-format cppcheck shellcheck \
	  libaio-dev libjansson-dev libxen-dev libcmocka-dev libnbd-dev libnbd-bin attr \
	  qemu-utils qemu-system-common fio nbdkit jq e2fsprogs perl python3 pyflakes3 gnuplot-nox

# One word and the file a command makes; V=1 shows the command.
say = $(if $(V),,@echo "  $(1)  $(patsubst $(BUILD)/%,%,$@)";)

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDEXPANSION:
.PHONY: all help deps demo sim sim-coverage check-mutants check check-asan check-faults check-xen fuzz fuzzers test-programs run-tests \
	lint lint-format \
	lint-cppcheck lint-clang lint-shell lint-python format bench bench-quick install clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# --- what there is to build ---------------------------------------------------

obj = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))

ENGINE_OBJ  := $(call obj,$(wildcard drivers/migrate/*.c))
TAPBACK_OBJ := $(call obj,$(wildcard drivers/tapback*.c) $(wildcard control/libtapctl-*.c) \
	  drivers/background.c drivers/fresh-process.c drivers/scheduler.c drivers/tapdisk-log.c)
TAPDISK_OBJ := $(filter-out %/tapback.o $(BUILD)/obj/drivers/tapback-%,$(call obj,$(wildcard drivers/*.c)))
CONTROL_OBJ := $(call obj,$(wildcard control/*.c))
# Shared by tapdisk and tap-ctl.
SHARED_OBJ  := $(call obj,drivers/migrate-journal.c drivers/migrate-live.c \
	  drivers/migrate-recover.c drivers/migrate-file.c drivers/migrate-unnamed.c \
	  drivers/migrate-new.c drivers/migrate-registry.c drivers/migrate-text.c drivers/state-dir.c \
	  $(wildcard drivers/image-*.c))
HOTPLUG_OBJ := $(call obj,$(wildcard control/hotplug/*.c control/libtapctl-*.c) control/image-where.c \
	  drivers/tapback-store.c drivers/tapdisk-log.c drivers/state-dir.c $(wildcard drivers/image-*.c))
# Xen's block ring needs Xen's libraries; without them tapdisk refuses to connect one, and
# there is neither tapback nor the program of xl's hotplug script.
XEN_LIBS := $(shell pkg-config --silence-errors --libs xengnttab xenevtchn)
XENSTORE_LIBS := $(shell pkg-config --silence-errors --libs xenstore)
TAPDISK_LIBS := -laio -ljansson -lpthread $(XEN_LIBS)
PROGRAMS := tapdisk tap-ctl $(if $(XENSTORE_LIBS),tapback tapmigrate-hotplug)

all: $(PROGRAMS:%=$(BUILD)/%) ## build tapdisk, tap-ctl, tapback and tapmigrate-hotplug

$(BUILD)/libmigrate.a: $(ENGINE_OBJ)
	@mkdir -p $(@D)
	@rm -f $@
	$(call say,AR)$(AR) rcs $@ $^

$(BUILD)/tapdisk: $(TAPDISK_OBJ) $(BUILD)/libmigrate.a
	$(call say,LD)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(TAPDISK_LIBS)

$(BUILD)/tap-ctl: $(CONTROL_OBJ) $(SHARED_OBJ) $(BUILD)/libmigrate.a
	$(call say,LD)$(CC) $(ALL_LDFLAGS) -o $@ $^ -ljansson

$(BUILD)/tapback: $(TAPBACK_OBJ)
	$(call say,LD)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(XENSTORE_LIBS)

$(BUILD)/tapmigrate-hotplug: $(HOTPLUG_OBJ) $(BUILD)/libmigrate.a
	$(call say,LD)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(XENSTORE_LIBS)

$(BUILD)/obj/drivers/tapdisk-blkif-xen.o: ALL_CFLAGS += $(if $(XEN_LIBS),-DTAPDISK_XEN)
$(BUILD)/obj/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(call say,CC)$(CC) $(ALL_CFLAGS) -c -o $@ $<

# --- tests --------------------------------------------------------------------

# A test program in C names, on a line "/* links: drivers/x.o ... */", the
# objects that it needs beside the engine.
links = $(addprefix $(BUILD)/obj/,$(shell sed -n 's|^/\* links: \(.*\) \*/$$|\1|p' $(1)))
define link_test
@mkdir -p $(@D)
$(call say,LD)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(1) -lcmocka -lnbd $(TAPDISK_LIBS)
endef

# tests/unit/test-x.c: a program that speaks TAP.
UNIT := $(patsubst tests/unit/test-%.c,$(BUILD)/tests/unit/%.t,$(wildcard tests/unit/test-*.c))
UNIT := $(filter-out $(if $(XENSTORE_LIBS),,%/tapback-vbd.t %/tapback-store.t),$(UNIT)) # needs xenstore's header
$(UNIT): $(BUILD)/tests/unit/%.t: $(BUILD)/obj/tests/unit/test-%.o \
		$$(call links,tests/unit/test-%.c) $(BUILD)/libmigrate.a
	$(link_test)

# tests/live/x.c, tests/bench/x.c, tests/faults/x.c: what the scripts there run.
# What is linked into the tapdisk of the tests instead: drivers, and what they are made of.
TEST_DRIVERS := $(wildcard tests/live/block-*.c tests/live/faulty-*.c tests/bench/block-*.c tests/bench/disk-*.c)
TOOLS := $(patsubst %.c,$(BUILD)/%,$(filter-out $(TEST_DRIVERS),$(wildcard tests/live/*.c tests/bench/*.c tests/faults/*.c)))
$(TOOLS): $(BUILD)/%: $(BUILD)/obj/%.o $$(call links,%.c) $(BUILD)/libmigrate.a
	$(link_test)

# block-x.c there: drivers that only the tapdisk of the tests has.
$(BUILD)/obj/tests/tapdisk-disktype.o: drivers/tapdisk-disktype.c Makefile
	@mkdir -p $(@D)
	$(call say,CC)$(CC) $(ALL_CFLAGS) -DTAPDISK_TEST_DRIVERS -c -o $@ $<

# Calls of these fail in it when a test says so (tests/live/faulty-calls.h).
FAULTY := migrate-store.o migrate-file.o migrate-live.o migrate-unnamed.o
$(FAULTY:%.o=$(BUILD)/obj/tests/%.o): $(BUILD)/obj/tests/%.o: drivers/%.c Makefile
	@mkdir -p $(@D)
	$(call say,CC)$(CC) $(ALL_CFLAGS) -include tests/live/faulty-calls.h -c -o $@ $<

# Calls that may wait for storage are looked at in it (tests/live/faulty-waits.c).
WAITING := open openat __open_2 __openat_2 fcntl close fstat flock fsync fdatasync fallocate posix_fallocate ftruncate \
	  lseek read write pread pwrite fgetxattr fsetxattr fremovexattr stat lstat fstatat mkdir access \
	  unlink unlinkat rename renameat linkat realpath opendir statx fstatfs
# One that fails as if others had used it up (tests/live/faulty-aio.c).
WAITING += io_setup

$(BUILD)/tests/tapdisk: $(filter-out %/tapdisk-disktype.o $(addprefix %/,$(FAULTY)),$(TAPDISK_OBJ)) \
		$(addprefix $(BUILD)/obj/tests/,tapdisk-disktype.o $(FAULTY)) \
		$(call obj,$(TEST_DRIVERS)) $(BUILD)/libmigrate.a
	@mkdir -p $(@D)
	$(call say,LD)$(CC) $(ALL_LDFLAGS) $(WAITING:%=-Wl,--wrap=%) -o $@ $^ $(TAPDISK_LIBS)

# The hotplug program with a xenstore that is none.
HOTPLUG_TEST := $(if $(XENSTORE_LIBS),$(BUILD)/tests/tapmigrate-hotplug)
$(BUILD)/tests/tapmigrate-hotplug: $(HOTPLUG_OBJ) $(call obj,tests/xl/fake-xenstore.c) $(BUILD)/libmigrate.a
	@mkdir -p $(@D)
	$(call say,LD)$(CC) $(ALL_LDFLAGS) -o $@ $^

# tests/sim: the engine in a simulated world (docs/simulation.md).
SIM := $(BUILD)/tests/sim/sim
# Its disks and requests are small, and so is what the journal and the engine do at a time.
SIM_OBJ   := $(patsubst %,$(BUILD)/obj/tests/sim-small/%.o,engine journal journal-file)
SIM_SMALL := -DJOURNAL_REGION_SECTORS=64u -DLIVE_MAX=256u -DLIVE_SLACK=8u -DSLICE_BYTES=16u -DGROW_BYTES=8192ull -DGUEST_PARTS=4u -DGRAINS=64u -DFLUSH_NS=5000000000ull
$(SIM_OBJ): $(BUILD)/obj/tests/sim-small/%.o: drivers/migrate/%.c Makefile
	@mkdir -p $(@D)
	$(call say,CC)$(CC) $(ALL_CFLAGS) $(SIM_SMALL) -c -o $@ $<

$(SIM): $(call obj,$(wildcard tests/sim/*.c)) $(SIM_OBJ) $(BUILD)/libmigrate.a
	@mkdir -p $(@D)
	$(call say,LD)$(CC) $(ALL_LDFLAGS) -o $@ $^

# tests/exhaustive: a small migration in every order (docs/exhaustive.md). Its memory.c
# stands in for pool.c, buffers.c and slots.c.
EXHAUSTIVE := $(BUILD)/tests/exhaustive/exhaustive.t
$(EXHAUSTIVE): $(call obj,$(wildcard tests/exhaustive/*.c)) $(BUILD)/libmigrate.a
	@mkdir -p $(@D)
	$(call say,LD)$(CC) $(ALL_LDFLAGS) -o $@ $^

# tests/fuzz/fuzz-x.c: untrusted bytes (docs/fuzzing.md). x.t runs the corpus, by any
# compiler; x is the fuzzer, by clang and its sanitizers.
FUZZ   := $(patsubst tests/fuzz/fuzz-%.c,%,$(wildcard tests/fuzz/fuzz-*.c))
REPLAY := $(FUZZ:%=$(BUILD)/tests/fuzz/%.t)
FUZZER := $(FUZZ:%=$(BUILD)/tests/fuzz/%)
$(REPLAY): $(BUILD)/tests/fuzz/%.t: $(BUILD)/obj/tests/fuzz/fuzz-%.o \
		$$(call links,tests/fuzz/fuzz-%.c) $(BUILD)/obj/tests/fuzz/replay.o $(BUILD)/libmigrate.a
	$(link_test)

$(FUZZER): $(BUILD)/tests/fuzz/%: $(BUILD)/obj/tests/fuzz/fuzz-%.o \
		$$(call links,tests/fuzz/fuzz-%.c) $(BUILD)/libmigrate.a
	$(call link_test,-fsanitize=fuzzer)

fuzzers: $(FUZZER)

fuzz: PACKAGES += libclang-rt-dev
fuzz: deps ## fuzz what reads untrusted bytes (FUZZ=names FUZZ_SECONDS=60 each)
	@if echo 'int LLVMFuzzerTestOneInput(void) { return 0; }' | \
	  clang -fsanitize=fuzzer,address -x c -o /dev/null - 2>/dev/null; then \
	  $(MAKE) --no-print-directory -j$(JOBS) fuzzers BUILD=$(BUILD)/fuzz CC=clang CFLAGS="-O1 -g" \
	    SANITIZE="-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer" && \
	  BUILD=$(abspath $(BUILD))/fuzz tests/fuzz/fuzz.sh $(FUZZ); \
	else echo "make fuzz: skipped: clang cannot link libFuzzer here"; fi

sim: $(SIM) ## simulate (SEEDS=N FIRST=N JOBS=N; or SEED=N [TRACE=1 DROP=items])
	@$(SIM) -j $(JOBS) -f $(or $(SEED),$(FIRST),1) -n $(if $(SEED),1,$(or $(SEEDS),20000)) \
	  $(if $(TRACE),-t) $(if $(DROP),-d $(DROP))

coverage = $(patsubst $(BUILD)/%,$(BUILD)/coverage/%,$(1))
sim-coverage: ## show which lines of the engine the simulator does not reach
	@$(MAKE) --no-print-directory -j$(JOBS) BUILD=$(BUILD)/coverage CFLAGS="-O0 -g" \
	  SANITIZE=--coverage $(BUILD)/coverage/tests/sim/sim
	@find $(BUILD)/coverage -name '*.gcda' -delete
	@$(BUILD)/coverage/tests/sim/sim -j $(JOBS) -n $(or $(SEEDS),20000)
	@gcov -n -b $(call coverage,$(ENGINE_OBJ)) | grep -A3 "^File 'drivers/migrate/.*c'"
	@gcov -t $(call coverage,$(ENGINE_OBJ)) | \
	  awk -F: '/:Source:/ { file = $$4 } /#####/ && file ~ /migrate.*c$$/ { print file ":" $$2 ":" $$3 }'

# tests/xen: scenarios in a real dom0, in an emulator (tests/xen/lib.sh). Each boots its own.
XEN_PACKAGES := qemu-system-x86 kmod cpio busybox-static xen-utils-4.17 xenstore-utils libgcc-s1 xz-utils \
	nbd-client
$(BUILD)/tests/xen/load: $(call obj,tests/xen/load.c)
	@mkdir -p $(@D)
	$(call say,LD)$(CC) -static -o $@ $^

# The longest scenario comes first: two run at a time.
check-xen: deps ## boot Xen in an emulator, and test with a guest there (SCENARIOS=... for some)
	@$(MAKE) --no-print-directory -j$(JOBS) all $(BUILD)/tests/xen/load
	@mkdir -p $(BUILD)/xen
	@if $(MAKE) --no-print-directory deps PACKAGES="$(XEN_PACKAGES)" >$(BUILD)/xen/packages.log 2>&1 && \
	  BUILD=$(BUILD) tests/xen/images.sh fetch $(BUILD)/xen >>$(BUILD)/xen/packages.log 2>&1; then \
	  BUILD=$(BUILD) tests/xen/images.sh make $(BUILD)/xen && \
	  BUILD=$(abspath $(BUILD)) prove --timer -j$(JOBS) $(PROVE_FLAGS) --exec tests/xen/boot.sh \
	    $(or $(SCENARIOS),tests/xen/migrate.t $(filter-out %/migrate.t,$(wildcard tests/xen/*.t))); \
	else echo "make check-xen: skipped: a package of the emulator's cannot be had ($(BUILD)/xen/packages.log)"; fi

check-faults: deps ## let every system call fail once (docs/faults.md; ONLY='words' for some; RESUME=1)
	@$(MAKE) --no-print-directory -j$(JOBS) test-programs
	@$(if $(RESUME),,rm -f $(BUILD)/faults.results)
	@BUILD=$(abspath $(BUILD)) tests/faults/faults.py --all --results $(BUILD)/faults.results $(if $(ONLY),--only $(ONLY))

check-mutants: $(SIM) ## show that the simulator finds each fault of tests/sim/mutants
	@BUILD=$(abspath $(BUILD)) prove --timer $(PROVE_FLAGS) tests/sim/mutants.t

test-programs: all $(EXHAUSTIVE) $(UNIT) $(REPLAY) $(TOOLS) $(SIM) $(BUILD)/tests/tapdisk $(HOTPLUG_TEST)

# Sanitizers write what they find to files, so that a finding in a tapdisk that
# nobody waits for fails the run too.
FINDINGS = $(abspath $(BUILD))/findings
run-tests: test-programs
	@rm -rf $(FINDINGS) && mkdir -p $(FINDINGS)
	@BUILD=$(abspath $(BUILD)) PATIENCE=$${PATIENCE:-300} CMOCKA_MESSAGE_OUTPUT=TAP \
	ASAN_OPTIONS=abort_on_error=1:disable_coredump=1:log_path=$(FINDINGS)/asan \
	UBSAN_OPTIONS=print_stacktrace=1:log_path=$(FINDINGS)/ubsan \
	prove --timer -j$(TEST_JOBS) $(PROVE_FLAGS) $(if $(TESTS),$(TESTS),tests/sim/sim.t $(EXHAUSTIVE) $(UNIT) $(REPLAY) tests/bench/bench.t \
	  $(wildcard tests/live/*.t tests/xl/*.t tests/faults/*.t))
	@cat $(FINDINGS)/* 2>/dev/null && exit 1 || true

check: deps ## build and run every test (TESTS=... for some, PROVE_FLAGS=-v for words)
	@$(MAKE) --no-print-directory -j$(JOBS) run-tests

check-asan: deps ## the same under AddressSanitizer and UBSan
	@SIM_SEEDS=$${SIM_SEEDS:-2000} EXHAUSTIVE_SCENARIOS=$${EXHAUSTIVE_SCENARIOS:-3} \
	$(MAKE) --no-print-directory -j$(JOBS) run-tests BUILD=$(BUILD)/asan CFLAGS="-O1 -g" \
	SANITIZE="-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer"

# --- what shows and measures --------------------------------------------------

demo: deps ## move a running disk, once by each strategy
	@$(MAKE) --no-print-directory -j$(JOBS) all
	@BUILD=$(abspath $(BUILD)) tests/demo/demo.sh

bench bench-quick: deps
	@$(MAKE) --no-print-directory -j$(JOBS) all $(TOOLS) $(BUILD)/tests/tapdisk
	@BUILD=$(abspath $(BUILD)) tests/bench/bench.py $(if $(filter bench-quick,$@),--quick) \
	  $(if $(ROUNDS),--rounds $(ROUNDS)) $(BENCH)

bench: ## measure what is required, five times over (BENCH='idle-copy cost' for some, ROUNDS=N)
bench-quick: ## most figures once, on small disks (without sparse, fifty, matrix), in build/bench-quick

# --- house-keeping ------------------------------------------------------------

C_FILES     := $(shell find drivers control include tests -name '*.[ch]' 2>/dev/null)
SHELL_FILES := $(shell find .ci tests xl-scripts -type f 2>/dev/null | xargs grep -lE '^(\#!.*\b(ba)?sh\b|\# shellcheck shell)')

lint: lint-format lint-cppcheck lint-shell lint-python lint-clang ## formatting, static analysis, and a build by clang

lint-format:
	clang-format --dry-run -Werror $(C_FILES)

lint-cppcheck:
	@mkdir -p $(BUILD)/cppcheck
	cppcheck --quiet -j$(JOBS) --enable=warning,portability,performance --inline-suppr \
	  --error-exitcode=1 --std=c11 --suppress=missingIncludeSystem --suppress=unmatchedSuppression \
	  --cppcheck-build-dir=$(BUILD)/cppcheck -D_GNU_SOURCE -Iinclude -Idrivers -Idrivers/migrate \
	  $(filter %.c,$(C_FILES))

# SC2317: functions that are called by name, through ok and wait_for.
lint-shell:
	shellcheck -x -P SCRIPTDIR -e SC2317 $(SHELL_FILES)

lint-python:
	pyflakes3 $(shell find tests -name '*.py' -o -name '*.t' | xargs grep -lE '^(\#!.*\bpython3|""")')

lint-clang:
	@$(MAKE) --no-print-directory -j$(JOBS) test-programs BUILD=$(BUILD)/clang CC=clang

format: ## rewrite the C files as .clang-format says
	clang-format -i $(C_FILES)

deps: ## install the packages that are missing (Debian, Ubuntu)
	@command -v dpkg-query >/dev/null || { \
	  echo "make deps: no dpkg here; this system's names for these are needed: $(PACKAGES)"; exit 0; }; \
	missing=$$(for package in $(PACKAGES); do \
	  dpkg-query -W -f '$${db:Status-Status}\n' $$package 2>/dev/null | grep -qx installed || \
	  echo $$package; done); \
	[ -n "$$missing" ] || exit 0; \
	install="apt-get install -y --no-install-recommends"; \
	if [ "$$(id -u)" != 0 ]; then \
	  echo "make deps: packages are missing. As root, run:" >&2; \
	  echo "    apt-get update && $$install" $$missing >&2; exit 1; \
	fi; \
	apt-get update -q && DEBIAN_FRONTEND=noninteractive $$install $$missing

install: all ## install under DESTDIR and PREFIX
	install -d $(DESTDIR)$(PREFIX)/sbin
	install -m 0755 $(PROGRAMS:%=$(BUILD)/%) $(wildcard xl-scripts/xl-migrate-*) $(DESTDIR)$(PREFIX)/sbin
	install -d $(DESTDIR)$(XEN_SCRIPTS)
	install -m 0755 xl-scripts/block-tapmigrate $(DESTDIR)$(XEN_SCRIPTS)
	install -m 0644 xl-scripts/tapmigrate-common.sh $(DESTDIR)$(XEN_SCRIPTS)
	ln -sfn block-tapmigrate $(DESTDIR)$(XEN_SCRIPTS)/block-tapmigrate-nbd
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	sed 's|@SBIN@|$(PREFIX)/sbin|' xl-scripts/tapback.service >$(DESTDIR)$(PREFIX)/lib/systemd/system/tapback.service
	$(foreach page,$(wildcard docs/*.8),install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/man/man8 $(page);)

clean: ## remove all that was built
	rm -rf $(BUILD)

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
