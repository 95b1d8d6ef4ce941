/* SPDX-License-Identifier: BSD-3-Clause */
/* links: drivers/image-same.o drivers/image-identity.o */
/*
 * Which devices are the same storage, by a sysfs that is made up: two disks that are paths
 * to one, a third; partitions; volumes of dm.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cmocka.h>

#include "image-same.h"

static char root[] = "/tmp/image-same.XXXXXX";

static const char *
in_root(const char *name)
{
	static char path[2][256];
	static int which;

	which = !which;
	snprintf(path[which], sizeof(path[which]), "%s/%s", root, name);
	return path[which];
}

static void
put(const char *name, const char *text)
{
	FILE *file = fopen(in_root(name), "w");

	assert_non_null(file);
	fprintf(file, "%s\n", text);
	fclose(file);
}

/* A directory of devices, with its number, and its entry by number. */
static void
device(const char *dir, const char *number)
{
	char name[64], target[64];

	assert_int_equal(mkdir(in_root(dir), 0700), 0);
	snprintf(name, sizeof(name), "%s/dev", dir);
	put(name, number);
	snprintf(name, sizeof(name), "block/%s", number);
	snprintf(target, sizeof(target), "../%s", dir);
	assert_int_equal(symlink(target, in_root(name)), 0);
}

static void
partition(const char *dir, const char *number, const char *start, const char *size)
{
	char name[64];

	device(dir, number);
	snprintf(name, sizeof(name), "%s/partition", dir);
	put(name, "1");
	snprintf(name, sizeof(name), "%s/start", dir);
	put(name, start);
	snprintf(name, sizeof(name), "%s/size", dir);
	put(name, size);
}

static void
slave(const char *of, const char *dir)
{
	char name[64], target[64];

	snprintf(name, sizeof(name), "%s/slaves", of);
	mkdir(in_root(name), 0700);
	snprintf(name, sizeof(name), "%s/slaves/%s", of, strrchr(dir, '/') ? "part" : dir);
	snprintf(target, sizeof(target), "../../%s", dir);
	assert_int_equal(symlink(target, in_root(name)), 0);
}

static int
make(void **state)
{
	if (!mkdtemp(root) || mkdir(in_root("block"), 0700))
		return -1;
	device("sda", "8:0");
	put("sda/wwid", "naa.5000c500a1b2c3d4");
	partition("sda/sda1", "8:1", "2048", "4096");
	partition("sda/sda2", "8:2", "6144", "4096");
	device("sdb", "8:16");
	put("sdb/wwid", "naa.5000c500a1b2c3d4");
	partition("sdb/sdb1", "8:17", "4096", "8192");
	device("sdc", "8:32");
	put("sdc/wwid", "naa.5000c500ffffffff");
	partition("sdc/sdc1", "8:33", "2048", "4096");
	device("dm-0", "253:0");
	slave("dm-0", "sda/sda1");
	device("dm-1", "253:1");
	slave("dm-1", "sda/sda1");
	device("dm-2", "253:2");
	slave("dm-2", "dm-0");
	return 0;
}

static int
clear(void **state)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -r %s", root);
	return system(command);
}

static bool
same(unsigned int a_major, unsigned int a_minor, unsigned int b_major, unsigned int b_minor)
{
	char sys[256];
	bool there, back;

	snprintf(sys, sizeof(sys), "%s/block", root);
	there = image_same_devices(sys, root, makedev(a_major, a_minor),
				   makedev(b_major, b_minor));
	back = image_same_devices(sys, root, makedev(b_major, b_minor),
				  makedev(a_major, a_minor));
	assert_int_equal(there, back);
	return there;
}

static void
test_disks(void **state)
{
	assert_true(same(8, 0, 8, 0));
	assert_false(same(8, 0, 8, 32));
	/* Two paths to it. */
	assert_true(same(8, 0, 8, 16));
}

static void
test_partitions(void **state)
{
	assert_true(same(8, 0, 8, 1));
	assert_false(same(8, 1, 8, 2));
	assert_false(same(8, 1, 8, 33));
	/* By the other path; it reaches over both. */
	assert_true(same(8, 1, 8, 17));
	assert_true(same(8, 2, 8, 17));
	assert_true(same(8, 0, 8, 17));
}

static void
test_volumes(void **state)
{
	/* What a volume is made of. */
	assert_true(same(253, 0, 8, 1));
	assert_true(same(253, 0, 8, 0));
	assert_true(same(253, 0, 8, 16));
	assert_true(same(253, 2, 8, 1));
	assert_true(same(253, 2, 253, 0));
	assert_false(same(253, 0, 8, 2));
	assert_false(same(253, 0, 8, 32));
	/* Two volumes of one partition are two places in it. */
	assert_false(same(253, 0, 253, 1));
	assert_false(same(253, 2, 253, 1));
}

static void
test_files(void **state)
{
	FILE *a = fopen(in_root("a"), "w"), *again, *b = fopen(in_root("b"), "w");

	assert_int_equal(link(in_root("a"), in_root("a2")), 0);
	again = fopen(in_root("a2"), "r");
	assert_true(a && b && again);
	assert_true(image_same(fileno(a), fileno(again)));
	assert_false(image_same(fileno(a), fileno(b)));
	fclose(a);
	fclose(b);
	fclose(again);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_disks),
		cmocka_unit_test(test_partitions),
		cmocka_unit_test(test_volumes),
		cmocka_unit_test(test_files),
	};

	return cmocka_run_group_tests(tests, make, clear);
}
