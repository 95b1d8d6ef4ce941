/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * replay.c - runs a fuzz target over files, without a fuzzer
 *
 * The files are the arguments, or else tests/fuzz/corpus/NAME/, NAME being the
 * program's without .t. Each is run in a process of its own, so that one that
 * dies fails alone and by its name, with what it had to say. Speaks TAP.
 */
#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fuzz.h"

#define CORPUS "tests/fuzz/corpus/"

static int failed, done;

static void
die(const char *what)
{
	printf("Bail out! %s: %s\n", what, strerror(errno));
	exit(1);
}

/* Runs the target over the file. What it prints is not TAP. */
static void
run(const char *path, const char *said)
{
	FILE *file = fopen(path, "re");
	uint8_t *data;
	long size = 0;

	if (!file || fseek(file, 0, SEEK_END) || (size = ftell(file)) < 0)
		die(path);
	rewind(file);
	/* Exactly as large as the input, for AddressSanitizer to see who reads beyond it. */
	data = malloc(size ? (size_t)size : 1);
	if (!data || fread(data, 1, (size_t)size, file) != (size_t)size)
		die(path);
	fclose(file);
	if (!freopen("/dev/null", "w", stdout) || !freopen(said, "w", stderr))
		die(said);
	LLVMFuzzerTestOneInput(data, (size_t)size);
	free(data);
}

static int
remove_file(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static void
tell(const char *said)
{
	FILE *file = fopen(said, "re");
	char line[256];

	while (file && fgets(line, sizeof(line), file))
		printf("# %s", line);
	if (file)
		fclose(file);
}

static void
replay(const char *path)
{
	char dir[] = "/tmp/fuzz-XXXXXX", said[32];
	int status;
	pid_t pid;

	if (!mkdtemp(dir) || setenv("BLKTAP_RUN_DIR", dir, 1))
		die(dir);
	snprintf(said, sizeof(said), "%s/said", dir);
	fflush(stdout);
	pid = fork();
	if (pid < 0)
		die("fork");
	if (!pid) {
		run(path, said);
		exit(0);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			die("waitpid");
	failed += status != 0;
	printf("%s %d - %s\n", status ? "not ok" : "ok", ++done, path);
	if (status) {
		printf("# wait status %#x\n", (unsigned)status);
		tell(said);
	}
	nftw(dir, remove_file, 8, FTW_DEPTH | FTW_PHYS);
}

/* The names in a directory, in order; those that begin with a dot are no inputs. */
static int
visible(const struct dirent *name)
{
	return name->d_name[0] != '.';
}

static void
replay_corpus(const char *program)
{
	const char *name = strrchr(program, '/') ? strrchr(program, '/') + 1 : program;
	char dir[256], path[600];
	struct dirent **names;
	int n;

	snprintf(dir, sizeof(dir), CORPUS "%.*s", (int)strcspn(name, "."), name);
	n = scandir(dir, &names, visible, alphasort);
	if (n < 0)
		die(dir);
	for (int i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]->d_name);
		replay(path);
		free(names[i]);
	}
	free(names);
}

int
main(int argc, char **argv)
{
	if (argc == 1)
		replay_corpus(argv[0]);
	for (int i = 1; i < argc; i++)
		replay(argv[i]);
	printf("1..%d\n", done);
	return failed || !done;
}
