/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The front process: what the user's shell sees as the command.  It forks the supervisor, waits,
 * passes signals on and pumps the terminal if one was asked for.  It is a subreaper, so if the
 * supervisor dies the guests become its children, and it kills them.
 *
 * Without a terminal of its own the guest is in our process group, and the supervisor soon
 * is in another session.
 * What the terminal sends (Ctrl-C) thus reaches guest and front alike and must not be passed on
 * a second time; what somebody sent to us with kill(2) must.  Whether the job is stopped is the
 * guest's decision: we stop when it has stopped.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cleanup.h>

#include "control.h"
#include "front.h"
#include "killall.h"
#include "proc.h"
#include "tty.h"

#define KILL_TIMEOUT_MS 10000

struct front {
	const struct run_options *o;
	struct tty own, *tty; /* tty: &own, or NULL for none */
	int control, sigfd;
	pid_t supervisor, guest; /* the guest's first process, once `started` */
	int status; /* of the supervisor, once `reaped` */
	bool reaped, hangup; /* it is dead; its end of the socket is closed */
	bool started;
	bool was_stopped; /* with the guest, and no SIGCONT was read since */
	int stop; /* the last CONTROL_STOPPED */
	int code; /* -1: not known yet */
};

/* Signals that mean something to the front itself, or to nobody but the one they hit. */
static bool is_own(int sig)
{
	switch (sig) {
	case SIGKILL:
	case SIGSTOP:
	case SIGSEGV:
	case SIGBUS:
	case SIGFPE:
	case SIGILL:
	case SIGTRAP:
	case SIGSYS:
	case SIGABRT:
	case SIGPIPE:
	case SIGTTIN:
	case SIGTTOU:
		return true;
	default:
		return false;
	}
}

/* The signals read from the descriptor.  One that was ignored at the start stays so (nohup(1)):
 * blocked it would be queued all the same (sigaction(2): blocked signals are not discarded). */
static void watched(sigset_t *set, uint64_t ignored)
{
	sigemptyset(set);
	for (int sig = 1; sig <= SIGRTMAX; sig++)
		if (!is_own(sig) && (sig == SIGCHLD || !(ignored >> (sig - 1) & 1)) &&
		    (sig < 32 || sig >= SIGRTMIN))
			sigaddset(set, sig);
}

static uint64_t ignored_signals(void)
{
	struct sigaction old;
	uint64_t set = 0;

	for (int sig = 1; sig <= SIGRTMAX; sig++)
		if (sigaction(sig, NULL, &old) == 0 && old.sa_handler == SIG_IGN)
			set |= UINT64_C(1) << (sig - 1);
	return set;
}

static void forward(struct front *f, int sig)
{
	const struct control_cont cont = {
		.sig = (unsigned char)sig, .was_stopped = f->was_stopped, .stop = f->stop};

	(void)!send(f->control, &cont, sig == SIGCONT ? sizeof(cont) : 1,
	            MSG_NOSIGNAL | MSG_DONTWAIT);
	if (sig == SIGCONT)
		f->was_stopped = false;
}

/*
 * Always by SIGTSTP, since it can be blocked: a SIGCONT that arrives between the look and the stop
 * takes a pending SIGTSTP away (signal(7)), while it would come too early for a SIGSTOP.  In an
 * orphaned process group, where no shell is to take notice, nothing stops.
 */
bool front_stop_self(bool (*stale)(void *arg), void *arg)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTSTP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	raise(SIGTSTP);
	if (stale && stale(arg)) {
		signal(SIGTSTP, SIG_IGN); /* which discards it */
		signal(SIGTSTP, SIG_DFL);
		return false;
	}
	sigprocmask(SIG_UNBLOCK, &set, NULL); /* stops here */
	sigprocmask(SIG_BLOCK, &set, NULL);
	return true;
}

/* Whether the guest goes on, or has ended: the supervisor has said so since, or is about to. */
static bool news(void *arg)
{
	const struct front *f = arg;
	struct pollfd fd = {.fd = f->control, .events = POLLIN};

	return poll(&fd, 1, 0) == 1 || strchr("RSD", proc_state(f->guest));
}

static void reap(struct front *f)
{
	if (!f->reaped && waitpid(f->supervisor, &f->status, WNOHANG) == f->supervisor)
		f->reaped = true;
}

/* With a terminal of the guest's own, what our terminal and its user want concerns the front. */
static void terminal_signal(struct front *f, int sig)
{
	switch (sig) {
	case SIGCONT:
		if (f->started)
			tty_raw(f->tty);
		tty_resize(f->tty);
		break;
	case SIGTSTP:
		tty_restore(f->tty);
		front_stop_self(NULL, NULL);
		break;
	case SIGWINCH:
		tty_resize(f->tty);
		break;
	default:
		forward(f, sig);
	}
}

static void signal_read(struct front *f, const struct signalfd_siginfo *si)
{
	int sig = (int)si->ssi_signo;

	if (sig == SIGCHLD) {
		reap(f);
		return;
	}
	/* It woke us because the guest goes on, or has ended, already. */
	if (sig == SIGCONT && (pid_t)si->ssi_pid == f->supervisor) {
		f->was_stopped = false;
		if (f->o->between)
			kill(f->o->between, SIGCONT);
		return;
	}
	if (f->tty) {
		terminal_signal(f, sig);
		return;
	}
	/* Before the guest is there the terminal's signal reached nobody but us. */
	if (si->ssi_code == SI_KERNEL && f->started)
		return;
	forward(f, sig);
}

/* One signal; false when there is none. */
static bool signal_event(struct front *f)
{
	struct signalfd_siginfo si;

	if (read(f->sigfd, &si, sizeof(si)) != sizeof(si))
		return false;
	signal_read(f, &si);
	return true;
}

/* One message; false when there is none. */
static bool control_event(struct front *f)
{
	struct control_msg m;
	ssize_t n = recv(f->control, &m, sizeof(m), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n != sizeof(m)) {
		f->hangup = true;
		return false;
	}
	switch ((enum control_kind)m.kind) {
	case CONTROL_STARTED:
		f->started = true;
		f->guest = m.value;
		if (f->tty)
			tty_raw(f->tty);
		break;
	case CONTROL_STOPPED:
		f->stop = m.value;
		/* One that was ignored at the start must not come back to its default. */
		if (!f->tty && !f->reaped && !(f->o->ignored >> (SIGTSTP - 1) & 1) &&
		    front_stop_self(news, f))
			f->was_stopped = true;
		break;
	case CONTROL_CONTINUED:
		break;
	case CONTROL_ENDED:
		if (f->tty) {
			tty_drain(f->tty);
			tty_restore(f->tty);
		}
		f->started = false; /* nothing shall make it raw again */
		forward(f, CONTROL_GO);
		break;
	case CONTROL_EXIT:
		f->code = m.value;
		break;
	}
	return true;
}

static void wait_loop(struct front *f)
{
	struct pollfd fd[2 + TTY_FDS] = {{.fd = f->control, .events = POLLIN},
	                                 {.fd = f->sigfd, .events = POLLIN}};
	nfds_t n = f->tty ? 2 + TTY_FDS : 2;

	while (!f->hangup && !f->reaped) {
		if (f->tty)
			tty_poll(f->tty, fd + 2);
		if (poll(fd, n, -1) < 0)
			continue;
		/* All of them: a SIGCONT must not be taken for one that came after the next stop. */
		while (fd[1].revents && signal_event(f))
			continue;
		if (f->tty)
			tty_pump(f->tty, fd + 2);
		if (fd[0].revents)
			control_event(f);
	}
	/* What it said before it died. */
	while (!f->hangup && control_event(f))
		continue;
	while (!f->reaped && waitpid(f->supervisor, &f->status, 0) != f->supervisor &&
	       errno == EINTR)
		continue;
}

/* The supervisor is gone.  Whatever guests are left are ours now. */
static int end(struct front *f)
{
	if (f->o->between)
		kill(f->o->between, SIGCONT); /* it may have stopped with us */
	if (killall(KILL_TIMEOUT_MS, NULL, NULL) < 0)
		cli_fail(f->o->cmd, "a guest process does not die (uninterruptible sleep)");
	if (f->tty) {
		tty_drain(f->tty);
		tty_close(f->tty);
	}
	if (f->code >= 0)
		return f->code;
	if (WIFSIGNALED(f->status))
		return cli_fail(f->o->cmd, "the supervisor was killed by signal %d (%s)",
		                WTERMSIG(f->status), strsignal(WTERMSIG(f->status)));
	return cli_fail(f->o->cmd, "the supervisor ended unexpectedly");
}

static int serve(struct run_options *o, struct front *f, int child_end)
{
	struct tty *tty = o->tty ? &f->own : NULL;

	if (tty) {
		int r = tty_open(tty);

		if (r < 0) {
			close(child_end);
			return cli_fail(o->cmd, "cannot make a terminal: %s", strerror(-r));
		}
		f->tty = tty;
	}
	/* A stream must not be written twice. */
	fflush(stdout);
	f->supervisor = fork();
	if (f->supervisor == 0) {
		int slave = tty ? tty->slave : -1;

		close(f->control);
		close(f->sigfd);
		if (tty)
			close(tty->master);
		exit(supervisor_main(o, child_end, slave));
	}
	close(child_end);
	if (f->supervisor < 0) {
		int err = errno;

		if (tty)
			tty_close(tty);
		return cli_fail(o->cmd, "fork: %s", strerror(err));
	}
	/* A guest that writes into a pipe nobody reads gets the signal itself. */
	signal(SIGPIPE, SIG_IGN);
	if (tty) {
		close(tty->slave);
		tty->slave = -1;
	} else {
		cli_release_stdio();
	}
	wait_loop(f);
	return end(f);
}

int front_main(struct run_options *o, const sigset_t *set)
{
	struct front f = {.o = o, .code = -1, .sigfd = -1, .control = -1};
	int pair[2];

	if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
		return cli_fail(o->cmd, "PR_SET_CHILD_SUBREAPER: %s", strerror(errno));
	bv_autofd int sigfd = signalfd(-1, set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (sigfd < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return cli_fail(o->cmd, "cannot talk to the supervisor: %s", strerror(errno));
	bv_autofd int control = pair[0];
	f.sigfd = sigfd;
	f.control = control;
	return serve(o, &f, pair[1]);
}

int front_run(struct run_options *o)
{
	sigset_t set;

	o->ignored = ignored_signals();
	watched(&set, o->ignored);
	signal(SIGCHLD, SIG_DFL); /* ignored, it would take away the children's status */
	/* Before any fork, so that no signal is lost, and no child's death. */
	sigprocmask(SIG_BLOCK, &set, &o->mask);
	return between_needed() ? between_run(o, &set) : front_main(o, &set);
}
