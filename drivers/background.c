/* SPDX-License-Identifier: BSD-3-Clause */
#include "background.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int
background(int *report)
{
	int fds[2], status = EIO;
	pid_t child;
	ssize_t n;

	if (pipe2(fds, O_CLOEXEC))
		return -errno;

	child = fork();
	if (child < 0)
		return -errno;

	if (child) {
		close(fds[1]);
		do
			n = read(fds[0], &status, sizeof(status));
		while (n < 0 && errno == EINTR);
		if (n != sizeof(status))
			fprintf(stderr, "process %d has ended instead of saying that it runs\n",
				child);
		_exit(status);
	}

	close(fds[0]);
	*report = fds[1];
	return setsid() < 0 ? -errno : 0;
}

int
background_started(int report, int status)
{
	int err;

	if (report < 0)
		return 0;
	do
		err = write(report, &status, sizeof(status)) < 0 ? -errno : 0;
	while (err == -EINTR);
	close(report);
	return err;
}

int
background_detach(bool keep_stderr)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	int err = fd < 0 || chdir("/") ? -errno : 0;

	if (err) /* the last that is heard of it */
		fprintf(stderr, "cannot go to the background: %s\n", strerror(-err));
	if (!err && (dup2(fd, STDIN_FILENO) < 0 || dup2(fd, STDOUT_FILENO) < 0 ||
		     (!keep_stderr && dup2(fd, STDERR_FILENO) < 0)))
		err = -errno;
	if (fd >= 0)
		close(fd);
	return err;
}
