# SPDX-License-Identifier: BSD-3-Clause
# tapmigrate. `make help` lists what there is to make.

BUILD  ?= build
PREFIX ?= /usr/local
CC     ?= gcc
JOBS   ?= $(shell nproc)

WARN   := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	  -Wpointer-arith -Wvla -Wno-unused-parameter
HARDEN := -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fPIE
CFLAGS ?= -O2 -g
ALL_CFLAGS := -std=gnu17 $(WARN) $(if $(SANITIZE),,$(HARDEN)) $(CFLAGS) $(SANITIZE) \
	  -D_GNU_SOURCE -Iinclude -Idrivers -Idrivers/migrate -MMD -MP
ALL_LDFLAGS := $(if $(SANITIZE),,-pie -Wl,-z,relro,-z,now) $(LDFLAGS) $(SANITIZE)

# What a fresh Debian or Ubuntu machine needs, for everything `make check`,
# `make lint`, `make demo` and `make bench` do.
PACKAGES := build-essential pkg-config clang clang-format cppcheck \
	  libaio-dev libjansson-dev libcmocka-dev libnbd-dev libnbd-bin \
	  qemu-utils qemu-system-common fio nbdkit jq e2fsprogs perl

.DEFAULT_GOAL := all
.PHONY: all help deps demo check check-asan lint format bench install clean unit-programs

# --- what there is to build ---------------------------------------------------

obj = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))

ENGINE_OBJ  := $(call obj,$(wildcard drivers/migrate/*.c))
TAPDISK_OBJ := $(call obj,$(wildcard drivers/*.c))
CONTROL_OBJ := $(call obj,$(wildcard control/*.c))
# Shared by tapdisk and tap-ctl.
SHARED_OBJ  := $(BUILD)/obj/drivers/migrate-state.o

all: $(BUILD)/tapdisk $(BUILD)/tap-ctl ## build tapdisk and tap-ctl

$(BUILD)/libmigrate.a: $(ENGINE_OBJ)
$(BUILD)/%.a:
	@mkdir -p $(@D)
	$(AR) rcs $@ $^

$(BUILD)/tapdisk: $(TAPDISK_OBJ) $(BUILD)/libmigrate.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ -laio -ljansson -lpthread

$(BUILD)/tap-ctl: $(CONTROL_OBJ) $(SHARED_OBJ)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ -ljansson

$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -c -o $@ $<

# --- tests --------------------------------------------------------------------

# A unit test is one program that speaks TAP; it links the engine, and names on
# a line "/* links: drivers/x.o ... */" the other objects that it needs.
UNIT := $(patsubst tests/unit/test-%.c,$(BUILD)/tests/unit/%.t,$(wildcard tests/unit/test-*.c))
unit-programs: $(UNIT)

$(BUILD)/tests/unit/%.t: $(BUILD)/obj/tests/unit/test-%.o $(BUILD)/libmigrate.a
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $< $(addprefix $(BUILD)/obj/,$(shell sed -n \
	  's|^/\* links: \(.*\) \*/$$|\1|p' tests/unit/test-$*.c)) $(BUILD)/libmigrate.a \
	  -lcmocka -laio -ljansson -lpthread

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
