/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz.h - what a fuzz target is
 *
 * tests/fuzz/fuzz-NAME.c reads one input and does what an enemy could make us do
 * with those bytes; a crash, a sanitizer's finding or a failed check() is the
 * result. The same file is linked twice: with libFuzzer by `make fuzz`, and with
 * replay.c, which runs the corpus, by `make check` (docs/fuzzing.md).
 */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What must be so whatever the input is. */
#define check(condition)                                                           \
	do {                                                                       \
		if (!(condition)) {                                                \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, \
				#condition);                                       \
			abort();                                                   \
		}                                                                  \
	} while (0)

/* The rest of the input. */
struct input {
	const uint8_t *at;
	size_t left;
};

/* 0 when there is no more. */
static inline uint8_t
input_byte(struct input *in)
{
	if (!in->left)
		return 0;
	in->left--;
	return *in->at++;
}

/* At most n bytes of it; *taken says how many there are. */
static inline const uint8_t *
input_bytes(struct input *in, size_t n, size_t *taken)
{
	const uint8_t *at = in->at;

	*taken = n < in->left ? n : in->left;
	in->at += *taken;
	in->left -= *taken;
	return at;
}

#endif
