/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * explore.c - a small migration in every order of its events
 *
 * At each step the model lists all that can happen next, and every one of it is
 * tried, depth first. One goes back by beginning again and repeating the choices up
 * to there: nothing but the choices decides what the engine does.
 *
 * A state that has been seen before has the same future, so that is counted, not
 * tried again. Two states are the same if all their bytes are: a difference that
 * does not matter (a stale pointer, say) costs time and hides nothing.
 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model.h"

#define DEPTH_MAX 96

/* clang-format off */
#define A	 { DISK_WRITE, 0, 2 }
#define A_FIRST	 { DISK_WRITE, 0, 1 }
#define B	 { DISK_WRITE, 1, 1 }
#define R	 { DISK_READ, 0, 2 }

/* A writes both sectors, B the second; a read is of both. */
static const struct scenario scenarios[] = {
	{ "AB, 2 reads",			0,			   32, { A, B, R, R } },
	{ "AB, read, fault",			MAY_FAIL,		   32, { A, B, R } },
	{ "AB apart and throttled, read, fault", MAY_FAIL,		    0, { A_FIRST, B, R } },
	{ "AB, read, switch, cancel",		MAY_SWITCH | MAY_CANCEL,   32, { A, B, R } },
	{ "AB, read, fault, cancel",		MAY_FAIL | MAY_CANCEL,	   32, { A, B, R } },
	{ "A, read, fault, switch, cancel, complete", MAY_ALL,		   32, { A, R } },
	/* From here on with -l. */
	{ "AB, read, fault, switch, cancel",	MAY_ALL & ~MAY_COMPLETE,   32, { A, B, R } },
	{ "AB, read, fault, complete",		MAY_FAIL | MAY_COMPLETE,   32, { A, B, R } },
	{ "AB, 2 reads, switch, cancel", MAY_SWITCH | MAY_CANCEL, 32, { A, B, R, R } },
};
/* clang-format on */
#define SHORT_SCENARIOS 6u
#define SCENARIOS	(sizeof(scenarios) / sizeof(*scenarios))

/* --- the states seen ------------------------------------------------------------ */

struct state {
	uint64_t key;  /* 0: none */
	uint64_t ways; /* to go on from there to an end; 0: not all of them tried yet */
};

static struct state *states;
static size_t states_size, states_used;

/* The state of that key, or where it is to be. */
static struct state *
state_at(uint64_t key)
{
	size_t i = key & (states_size - 1);

	while (states[i].key && states[i].key != key)
		i = (i + 1) & (states_size - 1);
	return &states[i];
}

static void
states_resize(size_t size)
{
	struct state *old = states;
	size_t old_size = states_size;

	states = calloc(size, sizeof(*states));
	if (!states)
		fail("out of memory");
	states_size = size;
	for (size_t i = 0; i < old_size; i++)
		if (old[i].key)
			*state_at(old[i].key) = old[i];
	free(old);
}

/* --- the search ------------------------------------------------------------------ */

struct level {
	uint64_t key;
	uint64_t ways; /* found so far */
	unsigned choice;
	unsigned choices;
};

static struct level path[DEPTH_MAX];
static unsigned depth, deepest;
static const struct scenario *scenario;
static enum strategy strategy;
static bool replaying;

/*
 * From the beginning by the choices of the path, then by the first of each, to the
 * end or a state known: how many ways lead on from there.
 */
static uint64_t
run(void)
{
	struct move moves[MOVES_MAX];

	world_begin(scenario, strategy);
	for (unsigned at = 0;; at++) {
		unsigned choices = world_moves(moves);

		if (!choices) {
			check_end();
			world_end();
			return 1;
		}
		if (at == depth) {
			uint64_t key = world_key();
			struct state *known = state_at(key);

			if (known->key) {
				if (!known->ways)
					fail("it goes round in circles");
				world_abandon();
				return known->ways;
			}
			if (depth == DEPTH_MAX)
				fail("it does not come to an end");
			known->key = key;
			if (++states_used > states_size / 2)
				states_resize(2 * states_size);
			path[depth++] = (struct level){ .key = key, .choices = choices };
			deepest = depth > deepest ? depth : deepest;
		}
		world_do(&moves[path[at].choice]);
	}
}

/* All of them; how many. */
static uint64_t
explore(void)
{
	uint64_t ways;

	deepest = 0;
	states_used = 0;
	free(states);
	states = NULL;
	states_size = 0;
	states_resize(1u << 12);
	do {
		ways = run();
		while (depth) {
			struct level *top = &path[depth - 1];

			top->ways += ways;
			if (++top->choice < top->choices)
				break;
			ways = top->ways;
			state_at(top->key)->ways = ways;
			depth--;
		}
	} while (depth);
	return ways;
}

/* --- what went wrong -------------------------------------------------------------- */

static void
replay(void)
{
	struct move moves[MOVES_MAX];

	replaying = true;
	printf("# %s, %s:\n", strategy_row(strategy)->name, scenario->name);
	world_begin(scenario, strategy);
	for (unsigned at = 0; at < depth; at++) {
		unsigned choices = world_moves(moves);

		if (path[at].choice >= choices)
			break;
		world_print(&moves[path[at].choice]);
		world_do(&moves[path[at].choice]);
	}
	if (!world_moves(moves))
		check_end();
}

void
fail(const char *what)
{
	if (!replaying) {
		printf("not ok - %s\n", what);
		replay();
	}
	printf("# %s\n# again: --replay %s,%zu", what, strategy_row(strategy)->name,
	       (size_t)(scenario - scenarios));
	for (unsigned i = 0; i < depth; i++)
		printf(",%u", path[i].choice);
	printf("\n");
	exit(1);
}

/* An assertion of the engine's. */
static void
aborted(int signal)
{
	fail("aborted");
}

/* The same addresses in every run, or AddressSanitizer makes each state a new one. */
const char *__asan_default_options(void);

const char *
__asan_default_options(void)
{
	return "quarantine_size_mb=0:thread_local_quarantine_size_kb=0";
}

static int
usage(void)
{
	fprintf(stderr, "usage: exhaustive.t [-l | --replay STRATEGY,SCENARIO,CHOICE,...]\n");
	return 2;
}

static int
replay_words(char *words)
{
	const char *name = strtok(words, ",");
	const char *number = strtok(NULL, ",");

	if (!name || !number || strategy_find(name) < 0 ||
	    strtoul(number, NULL, 10) >= SCENARIOS)
		return usage();
	strategy = strategy_find(name);
	scenario = &scenarios[strtoul(number, NULL, 10)];
	while (depth < DEPTH_MAX && (number = strtok(NULL, ",")))
		path[depth++].choice = (unsigned)strtoul(number, NULL, 10);
	replay();
	return 0;
}

int
main(int argc, char **argv)
{
	bool longer = argc == 2 && !strcmp(argv[1], "-l");
	/* Under sanitizers the larger ones take too long for a test. */
	const char *few = getenv("EXHAUSTIVE_SCENARIOS");
	size_t count = longer ? SCENARIOS : few ? strtoul(few, NULL, 10) : SHORT_SCENARIOS;
	unsigned test = 0;

	signal(SIGABRT, aborted);
	if (argc == 3 && !strcmp(argv[1], "--replay"))
		return replay_words(argv[2]);
	if ((argc != 1 && !longer) || !count || count > SCENARIOS)
		return usage();
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("1..%zu\n", STRATEGIES * count);
	for (scenario = scenarios; scenario < scenarios + count; scenario++)
		for (strategy = 0; strategy < STRATEGIES; strategy++) {
			uint64_t ways = explore();

			printf("ok %u - %s, %s: %lu orders, %zu states, at most %u events\n",
			       ++test, strategy_row(strategy)->name, scenario->name, ways,
			       states_used, deepest);
		}
	free(states);
	return 0;
}
