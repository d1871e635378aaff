/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pumps a pseudo terminal.  The master is non-blocking; stdin and stdout are shared with others
 * and keep their mode, so they are touched only when poll(2) says they are ready, and written in
 * pieces that a ready pipe takes whole (pipe(7): PIPE_BUF).
 */
#include "tty.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static bool outer_size(struct winsize *size)
{
	for (int fd = 0; fd < 3; fd++)
		if (ioctl(fd, TIOCGWINSZ, size) == 0)
			return true;
	return false;
}

int tty_open(struct tty *t)
{
	struct winsize size = {.ws_row = 24, .ws_col = 80};
	struct termios mode;
	int flags;

	*t = (struct tty){.slave = -1, .newline = true};
	t->master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (t->master < 0)
		return -errno;
	if (grantpt(t->master) < 0 || unlockpt(t->master) < 0)
		goto fail;
	/* Not by name: /dev/pts may be another instance than the master's (TIOCGPTPEER, Linux 4.13). */
	t->slave = ioctl(t->master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (t->slave < 0)
		goto fail;
	if (tcgetattr(STDIN_FILENO, &mode) == 0)
		tcsetattr(t->slave, TCSANOW, &mode);
	outer_size(&size);
	ioctl(t->master, TIOCSWINSZ, &size);
	flags = fcntl(t->master, F_GETFL);
	if (flags < 0 || fcntl(t->master, F_SETFL, flags | O_NONBLOCK) < 0)
		goto fail;
	return 0;
fail:
	flags = -errno;
	tty_close(t);
	return flags;
}

void tty_raw(struct tty *t)
{
	struct termios mode;

	if (!t->raw && tcgetattr(STDIN_FILENO, &t->saved) < 0)
		return;
	mode = t->saved;
	cfmakeraw(&mode);
	if (tcsetattr(STDIN_FILENO, TCSADRAIN, &mode) == 0)
		t->raw = true;
}

void tty_restore(struct tty *t)
{
	if (t->raw)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &t->saved);
	t->raw = false;
}

void tty_resize(struct tty *t)
{
	struct winsize size;

	if (t->master >= 0 && outer_size(&size))
		ioctl(t->master, TIOCSWINSZ,
		      &size); /* signals the guest's foreground group itself */
}

void tty_poll(const struct tty *t, struct pollfd fd[TTY_FDS])
{
	bool open = t->master >= 0;
	short master = 0;

	if (t->in.len)
		master |= POLLOUT;
	if (!t->out.len && !t->out.eof)
		master |= POLLIN;
	fd[0] = (struct pollfd){.fd = open && !t->in.len && !t->in.eof ? STDIN_FILENO : -1,
	                        .events = POLLIN};
	fd[1] = (struct pollfd){.fd = open && master ? t->master : -1, .events = master};
	fd[2] = (struct pollfd){.fd = t->out.len ? STDOUT_FILENO : -1, .events = POLLOUT};
}

/* The end of our input is the guest's end of file: the terminal's way to say it is VEOF, which
 * counts only at the beginning of a line; the first one ends a line begun. */
static void end_input(struct tty *t)
{
	struct termios mode;

	t->in.eof = true;
	if (tcgetattr(t->master, &mode) < 0 || !(mode.c_lflag & ICANON))
		return;
	t->in.at = 0;
	t->in.len = t->newline ? 1 : 2;
	memset(t->in.data, mode.c_cc[VEOF], t->in.len);
}

static void fill_in(struct tty *t)
{
	ssize_t n = read(STDIN_FILENO, t->in.data, sizeof(t->in.data));

	if (n > 0) {
		t->in.at = 0;
		t->in.len = (size_t)n;
		t->newline = t->in.data[n - 1] == '\n';
	} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		end_input(t);
	}
}

static void flush_in(struct tty *t)
{
	ssize_t n = write(t->master, t->in.data + t->in.at, t->in.len);

	if (n >= 0) {
		t->in.at += (size_t)n;
		t->in.len -= (size_t)n;
	} else if (errno != EAGAIN && errno != EINTR) {
		t->in.len = 0;
		t->in.eof = true;
	}
}

static void fill_out(struct tty *t)
{
	ssize_t n = read(t->master, t->out.data, sizeof(t->out.data));

	if (n > 0) {
		t->out.at = 0;
		t->out.len = (size_t)n;
	} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		t->out.eof = true; /* EIO: nobody has the slave open any more */
	}
}

static void flush_out(struct tty *t)
{
	size_t piece = t->out.len < PIPE_BUF ? t->out.len : PIPE_BUF;
	ssize_t n = write(STDOUT_FILENO, t->out.data + t->out.at, piece);

	if (n >= 0) {
		t->out.at += (size_t)n;
		t->out.len -= (size_t)n;
	} else if (errno != EAGAIN && errno != EINTR) {
		/* Nobody reads any more: to the guest its terminal is hung up. */
		t->out.len = 0;
		close(t->master);
		t->master = -1;
	}
}

void tty_pump(struct tty *t, const struct pollfd fd[TTY_FDS])
{
	if (fd[2].revents)
		flush_out(t);
	if (t->master >= 0 && (fd[1].revents & POLLOUT))
		flush_in(t);
	if (t->master >= 0 && !t->out.len && (fd[1].revents & ~POLLOUT))
		fill_out(t);
	if (t->master >= 0 && !t->in.len && !t->in.eof && fd[0].revents)
		fill_in(t);
}

void tty_drain(struct tty *t)
{
	while (t->master >= 0 && (t->out.len || !t->out.eof)) {
		struct pollfd out = {.fd = STDOUT_FILENO, .events = POLLOUT};

		if (!t->out.len) {
			struct pollfd in = {.fd = t->master, .events = POLLIN};

			if (poll(&in, 1, 0) != 1)
				return;
			fill_out(t);
		} else if (poll(&out, 1, -1) == 1) {
			flush_out(t);
		}
	}
}

void tty_close(struct tty *t)
{
	tty_restore(t);
	if (t->master >= 0)
		close(t->master);
	if (t->slave >= 0)
		close(t->slave);
	t->master = t->slave = -1;
}
