/* SPDX-License-Identifier: BSD-3-Clause */
/* links: drivers/image-identity.o drivers/image-mark.o drivers/state-dir.o */
/* What an image is recognised by, and what it is marked with. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

#include "image-identity.h"
#include "image-mark.h"
#include "state-dir.h"

#define UUID  "01234567-89ab-cdef-0123-456789abcdef"
#define OTHER "11234567-89ab-cdef-0123-456789abcdef"

static char dir[] = "/var/tmp/tm.XXXXXX";
static char id[IMAGE_IDENTITY_SIZE], again[IMAGE_IDENTITY_SIZE];

static char *
in_dir(const char *name)
{
	static char paths[4][128];
	static unsigned n;
	char *path = paths[n++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s", dir, name);
	return path;
}

static void
put(const char *name, const char *text)
{
	FILE *file = fopen(in_dir(name), "we");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static int
image(const char *name)
{
	int fd = open(in_dir(name), O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	return fd;
}

/* --- identity ------------------------------------------------------------------------ */

static void
renaming_keeps_the_identity_and_a_copy_has_another(void **state)
{
	int a = image("a"), b = image("b");

	assert_int_equal(image_identity(a, id, sizeof(id)), 0);
	assert_memory_equal(id, "file-", 5);
	assert_int_equal(image_identity(b, again, sizeof(again)), 0);
	assert_string_not_equal(id, again);
	close(a);
	assert_int_equal(rename(in_dir("a"), in_dir("moved")), 0);
	a = image("moved");
	assert_int_equal(image_identity(a, again, sizeof(again)), 0);
	assert_string_equal(id, again);
	assert_int_equal(image_identity(a, again, 20), -ENAMETOOLONG);
	close(a);
	close(b);
}

static void
what_is_no_image_has_no_identity(void **state)
{
	int fd = open(dir, O_RDONLY | O_CLOEXEC);

	assert_int_equal(image_identity(fd, id, sizeof(id)), -EINVAL);
	close(fd);
	assert_int_equal(image_identity(-1, id, sizeof(id)), -EBADF);
}

static int
of_device(void)
{
	return image_identity_of_device(in_dir("sys"), in_dir("udev"), id, sizeof(id));
}

static void
a_device_is_what_the_kernel_and_udev_say(void **state)
{
	assert_int_equal(mkdir(in_dir("sys"), 0700), 0);
	assert_int_equal(mkdir(in_dir("sys/dm"), 0700), 0);
	assert_int_equal(mkdir(in_dir("sys/device"), 0700), 0);

	/* Nothing; and nothing that is its own. */
	assert_int_equal(of_device(), -ENODATA);
	assert_string_equal(id, "unknown");
	put("udev", "S:disk/by-path/pci-0\nE:ID_SERIAL=QEMU_HARDDISK\n");
	put("sys/serial", " \n");
	assert_int_equal(of_device(), -ENODATA);

	/* Each goes before what is above. */
	put("sys/serial", "disk 1\n");
	assert_int_equal(of_device(), 0);
	assert_string_equal(id, "serial-disk_1");
	put("udev", "E:ID_SERIAL=Model_S1\nE:ID_SERIAL_SHORT=S1\n");
	assert_int_equal(of_device(), 0);
	assert_string_equal(id, "serial-Model_S1");
	put("udev", "E:ID_SERIAL=Model_S1\nE:ID_SERIAL_SHORT=S1\nE:ID_WWN=0x50\n");
	assert_int_equal(of_device(), 0);
	assert_string_equal(id, "wwn-0x50");
	put("sys/device/wwid", "naa.50\n");
	assert_int_equal(of_device(), 0);
	assert_string_equal(id, "wwid-naa.50");

	/* A partition is not its disk. */
	put("sys/partition", "1\n");
	assert_int_equal(of_device(), -ENODATA);
	put("udev", "E:ID_WWN=0x50\nE:ID_PART_ENTRY_UUID=ab-01\n");
	assert_int_equal(of_device(), 0);
	assert_string_equal(id, "part-ab-01");
	put("sys/dm/uuid", "LVM-x/y\n");
	assert_int_equal(of_device(), 0);
	assert_string_equal(id, "dm-LVM-x_y");
}

/* --- marks ------------------------------------------------------------------------------ */

static struct image_mark
a_mark(enum image_mark_role role, const char *uuid, const char *name)
{
	struct image_mark mark;

	assert_int_equal(image_mark_make(&mark, role, uuid, name), 0);
	return mark;
}

static void
a_mark_is_set_read_and_cleared(void **state)
{
	struct image_mark mark = a_mark(IMAGE_MARK_SOURCE, UUID, "/a b/journal"), got;
	int fd = image("marked");
	char text[128] = "";

	assert_int_equal(image_mark_get(fd, &got), -ENODATA);
	assert_int_equal(image_mark_clear(fd), 0);
	assert_int_equal(image_mark_set(fd, &mark), 0);
	assert_true(fgetxattr(fd, IMAGE_MARK_XATTR, text, sizeof(text) - 1) > 0);
	assert_string_equal(text, "1 source " UUID " /a b/journal");
	assert_int_equal(image_mark_get(fd, &got), 0);
	assert_int_equal(got.role, IMAGE_MARK_SOURCE);
	assert_string_equal(got.uuid, UUID);
	assert_string_equal(got.name, "/a b/journal");

	mark = a_mark(IMAGE_MARK_SUPERSEDED, UUID, "aio:/b");
	assert_int_equal(image_mark_set(fd, &mark), 0);
	assert_int_equal(image_mark_get(fd, &got), 0);
	assert_int_equal(got.role, IMAGE_MARK_SUPERSEDED);
	assert_int_equal(image_mark_clear(fd), 0);
	assert_int_equal(image_mark_get(fd, &got), -ENODATA);
	close(fd);
}

/* As it is where the attribute could not be written. */
static void
enter(int fd, const char *text)
{
	char name[IMAGE_IDENTITY_SIZE + 8];

	assert_int_equal(image_identity(fd, id, sizeof(id)), 0);
	snprintf(name, sizeof(name), "mark-%s", id);
	assert_int_equal(state_file_put(name, text), 0);
}

static bool
is_entered(void)
{
	char name[IMAGE_IDENTITY_SIZE + 8], text[8];

	snprintf(name, sizeof(name), "mark-%s", id);
	return state_file_get(name, text, sizeof(text)) != -ENODATA;
}

static void
the_state_directory_stands_in_for_an_attribute(void **state)
{
	struct image_mark mark = a_mark(IMAGE_MARK_SOURCE, UUID, "/j"), got;
	int fd = image("full");

	/* There is no attribute. */
	enter(fd, "1 source " UUID " /j");
	assert_int_equal(image_mark_get(fd, &got), 0);
	assert_int_equal(got.role, IMAGE_MARK_SOURCE);

	/* Once it can be written it is the only one. */
	assert_int_equal(image_mark_set(fd, &mark), 0);
	assert_false(is_entered());

	/* What could not be written over it is the later word of that migration. */
	enter(fd, "1 superseded " UUID " aio:/b");
	assert_int_equal(image_mark_get(fd, &got), 0);
	assert_int_equal(got.role, IMAGE_MARK_SUPERSEDED);
	assert_string_equal(got.name, "aio:/b");

	/* Of another migration it is older. */
	enter(fd, "1 superseded " OTHER " aio:/b");
	assert_int_equal(image_mark_get(fd, &got), 0);
	assert_int_equal(got.role, IMAGE_MARK_SOURCE);

	/* Neither is taken for none. */
	enter(fd, "?");
	assert_int_equal(image_mark_get(fd, &got), 0);
	assert_int_equal(fremovexattr(fd, IMAGE_MARK_XATTR), 0);
	assert_int_equal(image_mark_get(fd, &got), -EBADMSG);
	assert_int_equal(image_mark_set(fd, &mark), 0);
	enter(fd, "1 source " UUID " /j");
	assert_int_equal(image_mark_clear(fd), 0);
	assert_false(is_entered());
	assert_int_equal(image_mark_get(fd, &got), -ENODATA);
	close(fd);
}

static void
what_is_no_mark_is_not_taken_for_one(void **state)
{
	static const char *const texts[] = {
		"",
		"1",
		"1 source",
		"1 source " UUID,
		"1 source " UUID " ",
		"2 source " UUID " /j",
		"1 sauce " UUID " /j",
		"1 source 0123 /j",
		"1 source ../3456789ab-cdef-0123-456789abcdef.. /j",
		"1 source " UUID " /j\n/k",
		"1 source  " UUID " /j",
	};
	char text[IMAGE_MARK_TEXT + 1], name[IMAGE_MARK_NAME + 1];
	struct image_mark mark;
	int fd = image("rubbish");

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		assert_int_equal(image_mark_parse(texts[i], strlen(texts[i]), &mark), -EBADMSG);
	assert_int_equal(image_mark_parse("1 source " UUID " /j\0k", 50, &mark), -EBADMSG);
	memset(text, 'x', sizeof(text));
	assert_int_equal(image_mark_parse(text, sizeof(text), &mark), -EBADMSG);
	assert_int_equal(fsetxattr(fd, IMAGE_MARK_XATTR, text, sizeof(text), 0), 0);
	assert_int_equal(image_mark_get(fd, &mark), -EBADMSG);
	assert_int_equal(image_mark_clear(fd), 0);
	close(fd);

	memset(name, 'x', sizeof(name));
	name[IMAGE_MARK_NAME] = '\0';
	assert_int_equal(image_mark_make(&mark, IMAGE_MARK_SOURCE, UUID, name), -EINVAL);
	name[IMAGE_MARK_NAME - 1] = '\0';
	assert_int_equal(image_mark_make(&mark, IMAGE_MARK_SOURCE, UUID, name), 0);
	assert_int_equal(image_mark_make(&mark, IMAGE_MARK_SOURCE, UUID, "/a\nb"), -EINVAL);
	assert_int_equal(image_mark_make(&mark, IMAGE_MARK_SOURCE, UUID, ""), -EINVAL);
	assert_int_equal(image_mark_make(&mark, IMAGE_MARK_SOURCE, "", "/a"), -EINVAL);
}

static int
check(int fd, const struct image_mark *ours, const char *wanted)
{
	char why[512] = "";
	int err = image_mark_check(fd, "disk", ours, why, sizeof(why));

	if (!strstr(why, wanted))
		fail_msg("\"%s\" does not say \"%s\"", why, wanted);
	return err;
}

static void
an_image_is_opened_by_its_migration_only(void **state)
{
	const struct image_mark source = a_mark(IMAGE_MARK_SOURCE, UUID, "/j");
	const struct image_mark elsewhere = a_mark(IMAGE_MARK_SOURCE, UUID, "/k");
	const struct image_mark destination = a_mark(IMAGE_MARK_DESTINATION, UUID, "/j");
	const struct image_mark other = a_mark(IMAGE_MARK_SOURCE, OTHER, "/j");
	const struct image_mark next = a_mark(IMAGE_MARK_DESTINATION, OTHER, "/k");
	const struct image_mark abandoned = a_mark(IMAGE_MARK_ABANDONED, UUID, "aio:/old");
	const struct image_mark old = a_mark(IMAGE_MARK_SUPERSEDED, UUID, "aio:/new");
	int fd = image("disk");

	assert_int_equal(check(fd, NULL, ""), 0);
	assert_int_equal(check(fd, &source, ""), 0);
	assert_int_equal(image_mark_set(fd, &source), 0);
	assert_int_equal(check(fd, &source, ""), 0);
	assert_int_equal(check(fd, &elsewhere, ""), 0);
	assert_int_equal(check(fd, NULL, "open migrate:/j"), -EBUSY);
	assert_int_equal(check(fd, &destination, "is the source of"), -EBUSY);
	assert_int_equal(check(fd, &other, "open migrate:/j"), -EBUSY);
	/* Not even by the migration whose source it was. */
	assert_int_equal(image_mark_set(fd, &old), 0);
	assert_int_equal(check(fd, &source, "has moved to aio:/new"), -ESTALE);
	assert_int_equal(check(fd, NULL, "tap-ctl migrate unmark"), -ESTALE);
	/* What was abandoned may be overwritten, but not by a migration that it was cancelled
	 * in.
	 */
	assert_int_equal(image_mark_set(fd, &abandoned), 0);
	assert_int_equal(check(fd, NULL, "cancelled, the disk is aio:/old"), -ESTALE);
	assert_int_equal(check(fd, &source, "not a whole disk"), -ESTALE);
	assert_int_equal(check(fd, &destination, "not a whole disk"), -ESTALE);
	assert_int_equal(check(fd, &next, ""), 0);
	assert_int_equal(fsetxattr(fd, IMAGE_MARK_XATTR, "?", 1, 0), 0);
	assert_int_equal(check(fd, NULL, "not understood"), -EBADMSG);
	close(fd);
}

/* --------------------------------------------------------------------------------------- */

static int
setup(void **state)
{
	return mkdtemp(dir) ? setenv("TAPMIGRATE_STATE_DIR", in_dir("state"), 1) : -1;
}

static int
teardown(void **state)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(renaming_keeps_the_identity_and_a_copy_has_another),
		cmocka_unit_test(what_is_no_image_has_no_identity),
		cmocka_unit_test(a_device_is_what_the_kernel_and_udev_say),
		cmocka_unit_test(a_mark_is_set_read_and_cleared),
		cmocka_unit_test(the_state_directory_stands_in_for_an_attribute),
		cmocka_unit_test(what_is_no_mark_is_not_taken_for_one),
		cmocka_unit_test(an_image_is_opened_by_its_migration_only),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
