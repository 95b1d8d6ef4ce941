/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * inject PAGE LOG ROOT CALLS [FAULT] -- PROGRAM [ARGUMENT...] - a system call that fails once
 *
 * Runs PROGRAM in this process. The system calls of it and of all that it starts, as far as
 * CALLS (names, with commas between) has them, wait until a supervisor, a process of its own,
 * has looked at them (seccomp_unotify(2)); others cost nothing. The supervisor ends with the
 * last process that it looks after. A call is known by
 *
 *	PHASE  PROGRAM  CALL  OBJECT
 *
 * PHASE is a number that the test keeps in PAGE; PROGRAM is the name of the process (comm);
 * OBJECT is the file or socket that the call is about, under ROOT, with N for a number that
 * differs from run to run, and U for a UUID. Without FAULT each call is written to LOG, a
 * line with tabs between. FAULT is
 *
 *	PHASE PROGRAM CALL OBJECT COUNT error|delay|kill VALUE
 *
 * as one argument, tabs between: the COUNTth call of that description fails with errno VALUE,
 * or is made VALUE milliseconds later, or its process dies instead of making it. It is written
 * to LOG, and happens once for PAGE, though several of these have it.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#ifdef __aarch64__
#define ARCH AUDIT_ARCH_AARCH64
#else
#define ARCH AUDIT_ARCH_X86_64
#endif

#define CALLS_MAX  128
#define OBJECT_MAX 512

/* Shared with the test, which writes phase and reads the rest. Times are CLOCK_MONOTONIC. */
struct page {
	_Atomic uint32_t phase;
	_Atomic uint32_t fired;
	_Atomic uint64_t began_ns, ended_ns;
	_Atomic uint32_t pid; /* of the process that has been made to fail */
};

/* What a call is about, by its arguments: the first, or where it says so another. */
enum about { NOTHING, FD, FD_4, PATH, PATH_AT, ADDRESS };

/* An argument that tells calls of the same name apart; the first never does. */
static const struct call {
	const char *name;
	int number;
	enum about about;
	int kind;
} calls[] = {
#define CALL(name, about)                   \
	{                                   \
#name, SYS_##name, about, 0 \
	}
#define CALL_KIND(name, about, kind)           \
	{                                      \
#name, SYS_##name, about, kind \
	}
#ifdef SYS_open
	CALL(access, PATH),
	CALL(chmod, PATH),
	CALL(dup2, FD),
	CALL(epoll_wait, FD),
	CALL(eventfd, NOTHING),
	CALL(fork, NOTHING),
	CALL(link, PATH),
	CALL(lstat, PATH),
	CALL(mkdir, PATH),
	CALL_KIND(open, PATH, 1),
	CALL(pipe, NOTHING),
	CALL(poll, NOTHING),
	CALL(readlink, PATH),
	CALL(rename, PATH),
	CALL(rmdir, PATH),
	CALL(select, NOTHING),
	CALL(stat, PATH),
	CALL(symlink, PATH),
	CALL(unlink, PATH),
	CALL(vfork, NOTHING),
#endif
	CALL(accept4, FD),
	CALL(bind, ADDRESS),
	CALL(chdir, PATH),
	CALL(clone, NOTHING),
	CALL(clone3, NOTHING),
	CALL(close, FD),
	CALL(close_range, NOTHING),
	CALL(connect, ADDRESS),
	CALL(dup, FD),
	CALL(dup3, FD),
	CALL(epoll_create1, NOTHING),
	CALL(epoll_ctl, FD),
	CALL(epoll_pwait, FD),
	CALL(eventfd2, NOTHING),
	CALL(execve, PATH),
	CALL(exit_group, NOTHING),
	CALL(faccessat, PATH_AT),
	CALL(faccessat2, PATH_AT),
	CALL(fallocate, FD),
	CALL(fchdir, FD),
	CALL(fchmod, FD),
	CALL(fchmodat, PATH_AT),
	CALL_KIND(fcntl, FD, 1),
	CALL(fdatasync, FD),
	CALL(fgetxattr, FD),
	CALL(flock, FD),
	CALL(fremovexattr, FD),
	CALL(fsetxattr, FD),
	CALL(fstat, FD),
	CALL(fstatfs, FD),
	CALL(fsync, FD),
	CALL(ftruncate, FD),
	CALL(getdents64, FD),
	CALL(getxattr, PATH),
	CALL(io_destroy, NOTHING),
	CALL(io_getevents, NOTHING),
	CALL(io_setup, NOTHING),
	CALL(io_submit, NOTHING),
	CALL_KIND(ioctl, FD, 1),
	CALL(linkat, PATH_AT),
	CALL(listen, FD),
	CALL_KIND(lseek, FD, 2),
	CALL(memfd_create, NOTHING),
	CALL(mkdirat, PATH_AT),
	CALL(mlockall, NOTHING),
	CALL(mmap, FD_4),
	CALL_KIND(newfstatat, PATH_AT, 3),
	CALL_KIND(openat, PATH_AT, 2),
	CALL(pipe2, NOTHING),
	CALL(ppoll, NOTHING),
	CALL(pread64, FD),
	CALL(preadv, FD),
	CALL(pselect6, NOTHING),
	CALL(pwrite64, FD),
	CALL(pwritev, FD),
	CALL(read, FD),
	CALL(readlinkat, PATH_AT),
	CALL(readv, FD),
	CALL(recvfrom, FD),
	CALL(recvmsg, FD),
	CALL(removexattr, PATH),
	CALL(renameat, PATH_AT),
	CALL(renameat2, PATH_AT),
	CALL(sendmsg, FD),
	CALL(sendto, FD),
	CALL(setsid, NOTHING),
	CALL(setxattr, PATH),
	CALL(socket, NOTHING),
	CALL(socketpair, NOTHING),
	CALL(statfs, PATH),
	CALL(statx, PATH_AT),
	CALL(symlinkat, PATH),
	CALL(sync_file_range, FD),
	CALL(syncfs, FD),
	CALL(timerfd_create, NOTHING),
	CALL(truncate, PATH),
	CALL(unlinkat, PATH_AT),
	CALL(wait4, NOTHING),
	CALL(write, FD),
	CALL(writev, FD),
};

enum deed { RECORD, FAIL, DELAY, KILL };

static struct {
	struct page *page;
	FILE *log;
	const char *root;
	unsigned int phase, count;
	char program[64], call[64], object[OBJECT_MAX];
	enum deed deed;
	int value;
} job;

static uint64_t
now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static const struct call *
call_by_name(const char *name)
{
	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++)
		if (!strcmp(calls[i].name, name))
			return &calls[i];
	return NULL;
}

static const struct call *
call_by_number(int number)
{
	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++)
		if (calls[i].number == number)
			return &calls[i];
	return NULL;
}

/* --- what a call is about ----------------------------------------------------------- */

static bool
is_uuid(const char *s)
{
	for (int i = 0; i < 36; i++)
		if (i == 8 || i == 13 || i == 18 || i == 23
			    ? s[i] != '-'
			    : !strchr("0123456789abcdef", s[i]) || !s[i])
			return false;
	return true;
}

/* Of nbd4711.0, tapdisk-0: the disk's number, which does not differ. */
static bool
is_minor(const char *digits, char before)
{
	return (before == '.' || before == '-') && strspn(digits, "0123456789") == 1;
}

/* The same in every run: no root, no process ids, no UUIDs; no white space. */
static void
normalise(char *to, const char *from)
{
	const size_t root = strlen(job.root);
	char before = '/';
	size_t n = 0;

	if (!strncmp(from, job.root, root))
		from += root;
	while (*from && n < OBJECT_MAX - 1) {
		if (is_uuid(from)) {
			to[n++] = 'U';
			from += 36;
		} else if (*from >= '0' && *from <= '9' && !is_minor(from, before)) {
			to[n++] = 'N';
			from += strspn(from, "0123456789");
		} else {
			to[n++] = *from > ' ' ? *from : '_';
			from++;
		}
		before = from[-1];
	}
	if (!n)
		to[n++] = '/';
	to[n] = '\0';
}

static void
read_memory(pid_t pid, uint64_t at, char *text, size_t size)
{
	char path[64];
	ssize_t n = -1;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		n = pread(fd, text, size - 1, (off_t)at);
	text[n < 0 ? 0 : n] = '\0';
	if (fd >= 0)
		close(fd);
}

/* Where a Unix socket is bound, or, of one that is not, what it is connected to. */
static void
socket_name(pid_t process, int fd, char *text, size_t size)
{
	struct sockaddr_un un = { 0 };
	socklen_t len = sizeof(un) - 1;
	int pidfd = (int)syscall(SYS_pidfd_open, process, 0);
	int copy = pidfd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);

	if (copy >= 0 && (getsockname(copy, (struct sockaddr *)&un, &len) || !un.sun_path[0])) {
		memset(&un, 0, sizeof(un));
		len = sizeof(un) - 1;
		if (getpeername(copy, (struct sockaddr *)&un, &len))
			un.sun_path[0] = '\0';
	}
	snprintf(text, size, "%s", un.sun_path[0] ? un.sun_path : "socket");
	if (copy >= 0)
		close(copy);
	if (pidfd >= 0)
		close(pidfd);
}

static void
fd_name(pid_t process, int fd, char *text, size_t size)
{
	char path[64];
	ssize_t n;

	if (fd == AT_FDCWD)
		snprintf(path, sizeof(path), "/proc/%d/cwd", process);
	else
		snprintf(path, sizeof(path), "/proc/%d/fd/%d", process, fd);
	n = readlink(path, text, size - 1);
	text[n < 0 ? 0 : n] = '\0';
	if (!strncmp(text, "socket:", 7))
		socket_name(process, fd, text, size);
}

static void
object_of(const struct seccomp_notif *n, pid_t process, const struct call *call, char *object)
{
	const enum about about = call->about;
	char name[OBJECT_MAX] = "-", dir[OBJECT_MAX], path[2 * OBJECT_MAX];
	const bool is_at = about == PATH_AT;

	if (about == FD || about == FD_4) {
		fd_name(process, (int)n->data.args[about == FD ? 0 : 4], name, sizeof(name));
	} else if (about == ADDRESS) {
		read_memory((pid_t)n->pid,
			    n->data.args[1] + offsetof(struct sockaddr_un, sun_path), name,
			    sizeof(((struct sockaddr_un *)0)->sun_path));
	} else if (about != NOTHING) {
		read_memory((pid_t)n->pid, n->data.args[is_at], name, sizeof(name));
		if (is_at && *name != '/') {
			fd_name(process, (int)n->data.args[0], dir, sizeof(dir));
			snprintf(path, sizeof(path), "%s%s%s", dir, *name ? "/" : "", name);
			snprintf(name, sizeof(name), "%.*s", OBJECT_MAX - 1, path);
		}
	}
	normalise(object, *name ? name : "-");
	if (call->kind && strlen(object) + 16 < OBJECT_MAX)
		sprintf(object + strlen(object), ",%llx", n->data.args[call->kind]);
}

/* --- the supervisor ------------------------------------------------------------------- */

/* Of the thread's process: its id and name. */
static bool
process_of(pid_t thread, pid_t *process, char name[64])
{
	char path[64], line[256];
	FILE *f;

	*process = 0;
	snprintf(path, sizeof(path), "/proc/%d/status", thread);
	f = fopen(path, "re");
	while (f && !*process && fgets(line, sizeof(line), f))
		sscanf(line, "Tgid: %d", process);
	if (f)
		fclose(f);
	snprintf(path, sizeof(path), "/proc/%d/comm", *process);
	f = fopen(path, "re");
	if (!f || fscanf(f, "%63s", name) != 1)
		*process = 0;
	if (f)
		fclose(f);
	return *process;
}

static void
answer(int listener, uint64_t id, int error)
{
	struct seccomp_notif_resp resp = {
		.id = id,
		.error = -error,
		.flags = error ? 0 : SECCOMP_USER_NOTIF_FLAG_CONTINUE,
	};

	/* Its process may have died. */
	(void)ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &resp);
}

static bool
fires(void)
{
	uint32_t none = 0;

	return !--job.count && atomic_compare_exchange_strong(&job.page->fired, &none, 1);
}

/* Whether the call is answered already; if not, *until says when it is to be (or 0: now). */
static bool
judge(int listener, const struct seccomp_notif *n, uint64_t *until)
{
	const struct call *call = call_by_number(n->data.nr);
	const unsigned int phase = job.page->phase;
	char program[64], object[OBJECT_MAX];
	pid_t process;

	*until = 0;
	if (!call || (job.deed != RECORD && (!job.count || job.phase != phase)) ||
	    !process_of((pid_t)n->pid, &process, program) ||
	    (job.deed != RECORD && strcmp(program, job.program)))
		return false;
	object_of(n, process, call, object);
	if (job.deed != RECORD && (strcmp(object, job.object) || !fires()))
		return false;
	fprintf(job.log, "%u\t%s\t%s\t%s\t%lu\t%llx\t%llx\n", phase, program, call->name,
		object, now_ns(), n->data.args[0], n->data.args[1]);
	fflush(job.log);
	job.page->began_ns = now_ns();
	job.page->pid = (uint32_t)process;
	if (job.deed == KILL)
		kill(process, SIGKILL);
	else if (job.deed == FAIL)
		answer(listener, n->id, job.value);
	else if (job.deed == DELAY)
		*until = now_ns() + (uint64_t)job.value * 1000000;
	return job.deed == KILL || job.deed == FAIL;
}

static void
supervise(int listener)
{
	uint64_t delayed = 0, due = 0, until;

	for (;;) {
		struct pollfd p = { .fd = listener, .events = POLLIN };
		struct seccomp_notif n = { 0 };
		int ready = poll(&p, 1, due ? 20 : -1);

		if (due && now_ns() >= due) {
			job.page->ended_ns = now_ns();
			answer(listener, delayed, 0);
			due = 0;
		}
		if (ready > 0 && p.revents & (POLLHUP | POLLERR | POLLNVAL) &&
		    !(p.revents & POLLIN))
			return;
		if (ready <= 0 || ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &n))
			continue;
		if (judge(listener, &n, &until))
			continue;
		if (until) {
			delayed = n.id;
			due = until;
		} else {
			answer(listener, n.id, 0);
		}
	}
}

/* --- the process that is looked after ----------------------------------------------------- */

/* The number of the filter's descriptor, or -errno. */
static int
install_filter(char *names)
{
	struct sock_filter code[2 * CALLS_MAX + 5];
	struct sock_fprog prog = { .filter = code };
	const struct call *call;
	unsigned short n = 0;
	long fd;

	code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
						 offsetof(struct seccomp_data, arch));
	code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0);
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
						 offsetof(struct seccomp_data, nr));
	for (char *name = strtok(names, ","); name && n < 2 * CALLS_MAX;
	     name = strtok(NULL, ",")) {
		call = call_by_name(name);
		if (!call)
			continue; /* not on this architecture */
		code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
							 (uint32_t)call->number, 0, 1);
		code[n++] =
			(struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);
	}
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	prog.len = n;
	fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
		     SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
		     &prog);
	if (fd < 0 && errno == EINVAL) /* before Linux 5.19 */
		fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
			     SECCOMP_FILTER_FLAG_NEW_LISTENER, &prog);
	return fd < 0 ? -errno : (int)fd;
}

static void
read_fault(char *text)
{
	char deed[16];

	if (!text)
		return;
	if (sscanf(text, "%u\t%63s\t%63s\t%511s\t%u\t%15s\t%d", &job.phase, job.program,
		   job.call, job.object, &job.count, deed, &job.value) != 7)
		errx(2, "what fault is \"%s\"?", text);
	job.deed = !strcmp(deed, "kill") ? KILL : !strcmp(deed, "delay") ? DELAY : FAIL;
}

/* A supervisor that is nobody's child any more; it learns the filter's descriptor by *filter.
 */
static void
start_supervisor(pid_t target, _Atomic int *filter)
{
	pid_t child = fork();
	int pidfd, listener, fd;

	if (child < 0)
		err(2, "fork");
	if (child) {
		prctl(PR_SET_PTRACER, child); /* where Yama asks for it */
		return;
	}
	setsid();
	pidfd = (int)syscall(SYS_pidfd_open, target, 0);
	while (!*filter)
		usleep(100);
	if (*filter < 0)
		_exit(0);
	listener = (int)syscall(SYS_pidfd_getfd, pidfd, *filter - 1, 0);
	*filter = listener < 0 ? -errno : 0; /* go on */
	if (listener < 0)
		_exit(1);
	for (fd = 0; fd < 3; fd++) /* no pipe of the test's stays open by this process */
		dup2(fileno(job.log), fd);
	supervise(listener);
	_exit(0);
}

int
main(int argc, char **argv)
{
	_Atomic int *filter = mmap(NULL, sizeof(*filter), PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	char *fault = argc > 6 && strcmp(argv[5], "--") ? argv[5] : NULL;
	char **program = argv + (fault ? 7 : 6);
	int fd;

	if (argc < 7 || strcmp(program[-1], "--") || filter == MAP_FAILED)
		errx(2, "usage: inject PAGE LOG ROOT CALLS [FAULT] -- PROGRAM [ARGUMENT...]");
	job.root = argv[3];
	fd = open(argv[1], O_RDWR | O_CLOEXEC);
	job.page = mmap(NULL, sizeof(*job.page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	job.log = fopen(argv[2], "ae");
	if (fd < 0 || job.page == MAP_FAILED || !job.log)
		err(2, "%s, %s", argv[1], argv[2]);
	read_fault(fault);
	close(fd);

	start_supervisor(getpid(), filter);
	if (geteuid())
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	fd = install_filter(argv[4]);
	/* From here on no system call: it might be one of those that wait for the supervisor.
	 */
	*filter = fd < 0 ? fd : fd + 1;
	while (fd >= 0 && *filter > 0)
		;
	if (fd < 0)
		fprintf(stderr, "inject: no seccomp filter: %s\n", strerror(-fd));
	else if (*filter < 0)
		fprintf(stderr, "inject: the supervisor cannot have the filter\n");
	else
		execvp(program[0], program);
	_exit(2);
}
