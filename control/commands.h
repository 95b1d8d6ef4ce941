/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * commands.h - the commands of tap-ctl, one a file (tap-ctl-<command>.c)
 *
 * Each takes (argc, argv) with argv[0] its own name, and returns 0 or -errno;
 * tap_ctl_error() may say more.
 */
#ifndef COMMANDS_H
#define COMMANDS_H

int tap_cli_list(int argc, char **argv);
int tap_cli_allocate(int argc, char **argv);
int tap_cli_free(int argc, char **argv);
int tap_cli_create(int argc, char **argv);
int tap_cli_destroy(int argc, char **argv);
int tap_cli_spawn(int argc, char **argv);
int tap_cli_attach(int argc, char **argv);
int tap_cli_detach(int argc, char **argv);
int tap_cli_open(int argc, char **argv);
int tap_cli_close(int argc, char **argv);
int tap_cli_pause(int argc, char **argv);
int tap_cli_unpause(int argc, char **argv);
int tap_cli_stats(int argc, char **argv);
int tap_cli_migrate(int argc, char **argv);

#endif
