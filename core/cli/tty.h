/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_CLI_TTY_H
#define CORE_CLI_TTY_H
/* The guest's pseudo terminal (pty(7)), pumped by the front between its master and our stdio. */
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <termios.h>

struct pipe_end {
	char data[4096];
	size_t at, len;
	bool eof;
};

struct tty {
	int master, slave; /* -1: closed */
	bool raw; /* our own terminal is in raw mode; `saved` is how it was */
	bool newline; /* the last byte typed ended a line */
	struct termios saved;
	struct pipe_end in, out; /* stdin to master, master to stdout */
};

#define TTY_FDS 3

/* Makes the pair, with the settings and size of the terminal we are on: 0 or -errno. */
int tty_open(struct tty *t);
/* Puts our own terminal, if stdin is one, into raw mode; and back.  Both may be repeated. */
void tty_raw(struct tty *t);
void tty_restore(struct tty *t);
/* Hands the size of our terminal on. */
void tty_resize(struct tty *t);
/* Fills what to poll for, and moves bytes after the poll.  Neither blocks. */
void tty_poll(const struct tty *t, struct pollfd fd[TTY_FDS]);
void tty_pump(struct tty *t, const struct pollfd fd[TTY_FDS]);
/* Writes out what the guest has left behind. */
void tty_drain(struct tty *t);
void tty_close(struct tty *t);

#endif
