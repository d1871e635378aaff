/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NET_NET_H
#define NET_NET_H
/* The inner border of the net module. */
#include <stdbool.h>
#include <stdint.h>

#include <bvisor/module.h>
#include <bvisor/svc/net.h>
#include <bvisor/svc/vfs.h>
#include <cleanup.h>

#include "addr.h"

enum net_mode { NET_NONE, NET_HOST };

struct net_conf {
	int mode, netlink;
	struct bv_strings allow;
};

struct owned;
#define NET_DIRS 128
#define NET_PEERS 512
#define NET_LOST 16

struct peer {
	uint32_t ino; /* of the socket that called connect(2); 0: free */
	int32_t pid;
	uint32_t uid, gid;
};

struct net {
	const struct bv_host *host;
	struct bv_self *self;
	const struct bv_vfs *vfs;
	int mode;
	bool netlink; /* routing sockets in mode none too */
	unsigned low_port; /* ip_unprivileged_port_start */
	unsigned lo; /* interface index of the loopback */
	int diag; /* NETLINK_SOCK_DIAG socket, or -1 */
	bool diag_warned;
	bool audited; /* somebody wants to know what is refused */
	char token[ABSTRACT_TOKEN];
	uint32_t next_name; /* of automatic abstract names */
	struct owned *owned; /* cookies of this sandbox's reachable sockets */
	size_t owned_limit; /* forget the dead when there are more */
	struct {
		int fd;
		uint64_t dev, ino;
	} dir[NET_DIRS]; /* directories that hold bound sockets, so that their names can be shown */
	size_t n_dirs;
	struct peer peer[NET_PEERS]; /* ring: who connected lately */
	size_t next_peer;
	uint32_t lost[NET_LOST]; /* ring: connected, but a signal took the answer */
	size_t next_lost;
	bool may_allow; /* new sockets are not tied to the loopback device from the start */
	struct netrule *rules; /* mode none: what may be reached all the same */
	size_t n_rules;
	const struct bv_strings *texts; /* of the ini; borrowed */
	struct bv_net service;
};

/* ---- sock.c: a guest's socket, duplicated ---- */
struct sock {
	int fd; /* owned; -1 none */
	int domain, type, protocol;
	uint32_t ino;
	uint64_t cookie; /* never used twice (SO_COOKIE) */
};
/* -EBADF, -ENOTSOCK... */
int sock_get(struct net *m, struct bv_call *call, int guest_fd, struct sock *out);
void sock_put(struct sock *s);
#define bv_autosock __attribute__((cleanup(sock_put)))
bool sock_is_inet(const struct sock *s);
int sock_option(int fd, int level, int name); /* an int option's value, or -errno */
/* Mode none: from now on nothing reaches or leaves an Internet socket but over the loopback device. */
int sock_tie(const struct sock *s);
bool sock_blocks(const struct sock *s); /* O_NONBLOCK is not set */
/* Copies a guest's address: 0, -EINVAL, -EFAULT. */
int sock_read_addr(struct net *m, struct bv_call *call, uint64_t at, int len, struct addr *out);
/* Writes an address and its length as the kernel does (value-result): 0, -EINVAL, -EFAULT. */
int sock_write_addr(struct net *m, struct bv_call *call, uint64_t at, uint64_t len_at, const struct addr *a);

/* ---- owner.c: which sockets of the host's loopback are this sandbox's ---- */
int owner_remember(struct net *m, uint64_t cookie);
enum receiver {
	RECEIVER_NONE, /* nobody, or somebody else's socket, or it cannot be told */
	RECEIVER_OWN, /* a socket of this sandbox */
	RECEIVER_CROWDED, /* one that would drop a connection now: its queue is full */
};
/* Who receives what is sent to `to` (from `from`, NULL: unknown yet). */
enum receiver owner_receiver(struct net *m, int protocol, const struct addr *to, const struct addr *from);
/* 1 when a socket of the host that is not the sandbox's already receives there. */
int owner_is_foreign(struct net *m, int protocol, const struct addr *at);
void owner_fini(struct net *m);

/* ---- unix.c: names of AF_UNIX sockets ---- */
int unix_init(struct net *m);
void unix_fini(struct net *m);
int unix_bind(struct net *m, struct bv_call *call, const struct sock *s, const struct addr *a);
/* Gives a socket with SO_PASSCRED the name that the kernel would give it outside the sandbox's names. */
void unix_autobind(struct net *m, const struct sock *s);
/* The kernel's address for a guest's: *hold is a descriptor it depends on (owned, or -1). */
int unix_target(struct net *m, struct bv_call *call, const struct addr *in, struct addr *out, int *hold);
/* What the guest is to see of a kernel's address. */
void unix_show(struct net *m, const struct addr *in, struct addr *out);

/* ---- target.c: the verdict about a destination ---- */
enum target_use { TARGET_CONNECT, TARGET_SEND };
struct target {
	struct addr to; /* len 0: no address */
	int hold; /* owned, or -1 */
	bool inside; /* mode none, Internet: allowed for the socket that received there then */
};
#define TARGET_DROP 1 /* the datagram reaches nobody: say it was sent */
/* 0, TARGET_DROP or -errno; -EAGAIN: a connection would be dropped now. */
int target_find(struct net *m, struct bv_call *call, const struct sock *s, const struct addr *in, enum target_use use,
		struct target *out);

/* A destination found before, looked at again since time has passed: 0, TARGET_DROP or -errno. */
int target_again(struct net *m, const struct sock *s, struct target *t, enum target_use use);

/* ---- peer.c: SO_PEERCRED ---- */
void peer_remember(struct net *m, struct bv_call *call, uint32_t ino);

/* ---- control.c: ancillary data ---- */
struct control {
	unsigned char *data;
	size_t len;
	int *fd;
	size_t n_fds;
};
/* Copies, checks and translates what the guest passes along. */
int control_read(struct net *m, struct bv_call *call, const struct sock *s, uint64_t at, uint64_t len,
		 struct control *out);
/* Tells the receiver whose ids the message comes with, where the kernel would take ours. */
void control_add_sender(struct net *m, struct bv_call *call, struct control *c);
void control_fini(struct control *c);

/* ---- send.c: one message on its way ---- */
#define SEND_MAX (1024 * 1024)
struct message {
	struct net *net;
	struct sock sock;
	struct target target;
	struct control control;
	unsigned char *data;
	size_t len, sent;
	int flags;
	bool blocking, drop;
	uint64_t len_at; /* sendmmsg: where the guest wants the length; 0 none */
	unsigned tries; /* in vain, in a row */
	int64_t deadline; /* ms of CLOCK_MONOTONIC; -1 none */
	int result; /* of the last try */
};
struct message *message_new(struct net *m);
void message_free(struct message *s);
/* Sends as much as goes at once: 0 all done, -EAGAIN the rest would block, or -errno. */
int message_try(struct message *s, struct bv_call *call);
/* Answers a message that message_try() finished with r. */
enum bv_verdict message_answer(struct message *s, struct bv_call *call, int r);
/* Tries; waits on a worker where the guest would wait; answers.  Takes s. */
enum bv_verdict message_send(struct message *s, struct bv_call *call);

/* ---- allow.c ---- */
int allow_init(struct net *m, const struct bv_strings *texts);
int allow_provide(struct net *m);
void allow_fini(struct net *m);
bool allow_fits(const struct net *m, const struct addr *to);

/* ---- rules.c ---- */
int rules_register(struct net *m);

/* Handler rows of each file, ended by an empty one. */
extern const struct bv_handler sock_rows[], bind_rows[], connect_rows[], names_rows[], peer_rows[], send_rows[],
	iface_rows[];

#endif
