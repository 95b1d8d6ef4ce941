/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fake-xenstore.c - libxenstore for the tests of the scripts, on fake-xen's files
 *
 * What is changed goes by the programs xenstore-* in $PATH, which are fake-xen there. What
 * is read, which is most of it, is read here, counts in $XEN/calls too, and kills as there.
 * Of a transaction only the writes wait for its end, when they are one call.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xenstore.h>

#define WORDS_MAX 64

static char *words[WORDS_MAX] = { "xenstore-write" };
static int n_words = 1;

/* Runs a program: what it says on stdout, the caller's to free; NULL: it has failed. */
static char *
run(char *const argv[])
{
	char *said = calloc(1, 4096);
	int out[2], status, have = 0;
	ssize_t n;
	pid_t pid;

	if (!said || pipe(out))
		abort();
	pid = fork();
	if (!pid) {
		dup2(out[1], STDOUT_FILENO);
		dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
		close(out[0]);
		close(out[1]);
		execvp(argv[0], argv);
		_exit(127);
	}
	close(out[1]);
	while ((n = read(out[0], said + have, (size_t)(4095 - have))) > 0)
		have += (int)n;
	close(out[0]);
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status) {
		free(said);
		errno = ENOENT;
		return NULL;
	}
	return said;
}

/* The same, of a program with one operand or two. */
static char *
run2(const char *program, const char *first, const char *second)
{
	char *const argv[] = { (char *)program, (char *)first, (char *)second, NULL };

	return run(argv);
}

static bool
succeeded(char *said)
{
	const bool done = said;

	free(said);
	return done;
}

struct xs_handle *
xs_open(unsigned long flags)
{
	return (struct xs_handle *)words;
}

void
xs_close(struct xs_handle *xs)
{
}

int
xs_fileno(struct xs_handle *xs)
{
	return -1;
}

/* A name below $XEN, the caller's to free. */
static char *
name_of(const char *first, const char *second)
{
	char *name = NULL;

	if (asprintf(&name, "%s/%s%s", getenv("XEN"), first, second) < 0)
		abort();
	return name;
}

/* Puts a call on record. We are killed if it is the one whose number is in $XEN/kills. */
static void
count_call(const char *path)
{
	char *calls = name_of("calls", ""), *kills = name_of("kills", "");
	FILE *file = fopen(calls, "a+");
	int n = 0, deadly = 0, c;

	if (file) {
		fprintf(file, "xenstore-read %s\n", path);
		rewind(file);
		while ((c = getc(file)) != EOF)
			n += c == '\n';
		fclose(file);
	}
	file = fopen(kills, "r");
	if (file) {
		if (fscanf(file, "%d", &deadly) == 1 && n == deadly)
			raise(SIGKILL);
		fclose(file);
	}
	free(calls);
	free(kills);
}

void *
xs_read(struct xs_handle *xs, xs_transaction_t t, const char *path, unsigned int *len)
{
	char *dir = name_of(*path == '/' ? "store" : "store/local/domain/0/", path);
	char *name = NULL, *value = NULL;
	FILE *file = asprintf(&name, "%s/=", dir) < 0 ? NULL : fopen(name, "r");
	size_t size = 0;
	ssize_t n = 0;

	count_call(path);
	free(dir);
	free(name);
	if (!file) {
		errno = ENOENT;
		return NULL;
	}
	n = getdelim(&value, &size, '\0', file); /* all of it, and the end of a line */
	fclose(file);
	if (n < 1)
		abort();
	value[n - 1] = '\0';
	*len = (unsigned int)n - 1;
	return value;
}

/* As xenstore-write wants it. */
static char *
escaped(const char *value, unsigned int len)
{
	char *text = calloc(2, len + 1), *end = text;

	if (!text)
		abort();
	for (unsigned int i = 0; i < len; i++) {
		if (value[i] == '\\')
			*end++ = '\\';
		*end++ = value[i];
	}
	return text;
}

bool
xs_write(struct xs_handle *xs, xs_transaction_t t, const char *path, const void *data,
	 unsigned int len)
{
	if (n_words + 2 >= WORDS_MAX)
		abort();
	words[n_words++] = strdup(path);
	words[n_words++] = escaped(data, len);
	return true;
}

bool
xs_rm(struct xs_handle *xs, xs_transaction_t t, const char *path)
{
	return succeeded(run2("xenstore-rm", path, NULL));
}

char **
xs_directory(struct xs_handle *xs, xs_transaction_t t, const char *path, unsigned int *n)
{
	char *names = run2("xenstore-list", path, NULL), *at, **list;

	*n = 0;
	if (!names)
		return NULL;
	list = calloc(1, sizeof(*list) * 256 + strlen(names) + 1);
	at = strcpy((char *)(list + 256), names);
	free(names);
	for (at = strtok(at, "\n"); at && *n < 256; at = strtok(NULL, "\n"))
		list[(*n)++] = at;
	return list;
}

bool
xs_set_permissions(struct xs_handle *xs, xs_transaction_t t, const char *path,
		   struct xs_permissions *permissions, unsigned int n)
{
	return true; /* the test reads as dom0 */
}

xs_transaction_t
xs_transaction_start(struct xs_handle *xs)
{
	return 1;
}

bool
xs_transaction_end(struct xs_handle *xs, xs_transaction_t t, bool abort)
{
	bool done = true;

	if (!abort && n_words > 1)
		done = succeeded(run(words));
	while (n_words > 1) {
		free(words[--n_words]);
		words[n_words] = NULL;
	}
	return done;
}

bool
xs_is_domain_introduced(struct xs_handle *xs, unsigned int domid)
{
	return true;
}

bool
xs_watch(struct xs_handle *xs, const char *path, const char *token)
{
	return true;
}

bool
xs_unwatch(struct xs_handle *xs, const char *path, const char *token)
{
	return true;
}

char **
xs_check_watch(struct xs_handle *xs)
{
	errno = EAGAIN;
	return NULL;
}
