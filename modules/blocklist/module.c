/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blocklist: escape and privilege calls, refused inside the kernel by the seccomp filter with the
 * errno that the ini names.  It serves nothing: what is not named here is left to other modules.
 * The lists below are the whole default; the ini can replace each of them.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "blocklist.h"

/* A comment stands above what it is about. */
/* clang-format off */
#define EPERM_DEFAULT                                                                            \
	/* mounts and roots */                                                                   \
	"mount\numount2\nmove_mount\nopen_tree\nopen_tree_attr\nfsopen\nfsconfig\nfsmount\n"      \
	"fspick\nmount_setattr\nstatmount\nlistmount\npivot_root\nchroot\n"                      \
	/* namespaces, other processes, code in the kernel */                                    \
	"setns\nptrace\nbpf\nperf_event_open\nuserfaultfd\ninit_module\nfinit_module\n"           \
	"delete_module\nkexec_load\nkexec_file_load\n"                                           \
	/* keyrings are shared with every process of the user */                                 \
	"add_key\nrequest_key\nkeyctl\n"                                                         \
	/* files by handle, behind every path check */                                           \
	"open_by_handle_at\nname_to_handle_at\n"                                                 \
	/* the machine: power, swap, quotas, clocks, names, ports, consoles, whole file systems */ \
	"reboot\nswapon\nswapoff\nacct\nquotactl\nquotactl_fd\nsettimeofday\nclock_settime\n"     \
	"sethostname\nsetdomainname\niopl\nioperm\nvhangup\nsyslog\nfanotify_init\n"              \
	"fanotify_mark\nlookup_dcookie\n"                                                         \
	/* inode flags, as their ioctls */                                                       \
	"file_setattr"
#define ENOSYS_DEFAULT                                                                           \
	/* clone3 keeps its flags in memory, out of the filter's sight; libc falls back to clone */ \
	"clone3\n"                                                                               \
	/* io_uring runs calls that no filter sees */                                            \
	"io_uring_setup\nio_uring_enter\nio_uring_register\n"                                    \
	/* paths checked by the host kernel, of which the virtual tree knows nothing */          \
	"landlock_create_ruleset\nlandlock_add_rule\nlandlock_restrict_self\n"                   \
	"lsm_set_self_attr\nlsm_get_self_attr\nlsm_list_modules\n"                                   \
	/* rarely built in, or remains of old kernels */                                         \
	"modify_ldt\nuselib\nsysfs\nustat\n_sysctl\nnfsservctl\ncreate_module\nquery_module\n"    \
	"get_kernel_syms\ngetpmsg\nputpmsg\nafs_syscall\ntuxcall\nsecurity\nvserver\n"            \
	"epoll_ctl_old\nepoll_wait_old\nset_thread_area\nget_thread_area"
#define IPC_DEFAULT                                                                              \
	"shmget\nshmat\nshmctl\nshmdt\nsemget\nsemop\nsemtimedop\nsemctl\nmsgget\nmsgsnd\n"       \
	"msgrcv\nmsgctl\nmq_open\nmq_unlink\nmq_timedsend\nmq_timedreceive\nmq_notify\n"          \
	"mq_getsetattr"
#define IOCTL_DEFAULT                                                                            \
	/* terminals: modes, size, job control, queues; FIONREAD, FIONBIO, FIOCLEX, FIOASYNC */   \
	"0x5401-0x540b\n0x540d-0x5411\n0x5413-0x541b\n0x5420-0x5422\n0x5424-0x5425\n"             \
	"0x5427-0x5429\n0x802c542a\n0x402c542b-0x402c542d\n0x5450-0x5452\n0x5460\n"               \
	/* pseudo-terminals */                                                                   \
	"0x80045430\n0x40045431\n0x80045432\n0x40045436\n0x80045438-0x80045439\n0x80045440\n0x5441\n" \
	/* FIGETBSZ, FS_IOC_GETFLAGS, FS_IOC_FSGETXATTR, FS_IOC_FIEMAP, FICLONE, FICLONERANGE */  \
	"0x2\n0x80086601\n0x801c581f\n0xc020660b\n0x40049409\n0x4020940d\n"                      \
	/* SIOCGPGRP, SIOCATMARK, SIOCGSTAMP, SIOCGSTAMPNS; RNDGETENTCNT */       \
	"0x8904-0x8907\n0x80045200"
#define IOCTL_EPERM_DEFAULT                                                                      \
	/* TIOCSTI, TIOCLINUX, TIOCCONS, TIOCSETD, TIOCVHANGUP */                                \
	"0x5412\n0x541c\n0x541d\n0x5423\n0x5437\n"                                               \
	/* FS_IOC_SETFLAGS, FS_IOC_FSSETXATTR */                                                 \
	"0x40086602\n0x401c5820"
/* clang-format on */

#define OPTION(k, member, d, h)                                                                                  \
	{                                                                                                        \
		.key = (k), .type = BV_OPT_WORDS, .offset = offsetof(struct blocklist_conf, member), .def = (d), \
		.help = (h)                                                                                      \
	}
static const struct bv_option options[] = {
	OPTION("eperm", eperm, EPERM_DEFAULT, "System calls that fail with EPERM."),
	OPTION("enosys", enosys, ENOSYS_DEFAULT, "System calls that fail with ENOSYS."),
	OPTION("ipc", ipc, IPC_DEFAULT,
	       "System V and POSIX message calls, which no module makes private yet: they fail with ENOSYS."),
	OPTION("ioctl", ioctl, IOCTL_DEFAULT,
	       "ioctl commands, or ranges of them, that the kernel may run; all others fail with ENOTTY."),
	OPTION("ioctl-eperm", ioctl_eperm, IOCTL_EPERM_DEFAULT, "ioctl commands that fail with EPERM."),
};

static int deny_all(struct blocklist *m, const char *key, const struct bv_strings *names, int err)
{
	char text[512];

	for (size_t i = 0; i < names->n; i++) {
		int r = m->host->deny(m->self, names->item[i], err);

		if (r == -EINVAL) {
			snprintf(text, sizeof(text), "%s: %s: \"%.100s\" is no system call",
				 m->host->option_where(m->self, key), key, names->item[i]);
			m->host->fail(m->self, text);
		}
		if (r < 0)
			return r;
	}
	return 0;
}

static int init(struct bv_self *host_self, const struct bv_host *host, const void *conf, void **self)
{
	const struct blocklist_conf *c = conf;
	struct blocklist *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return -ENOMEM;
	m->host = host;
	m->self = host_self;
	r = deny_all(m, "eperm", &c->eperm, EPERM);
	if (r >= 0)
		r = deny_all(m, "enosys", &c->enosys, ENOSYS);
	if (r >= 0)
		r = deny_all(m, "ipc", &c->ipc, ENOSYS);
	if (r >= 0)
		r = rules_register(m, c);
	if (r < 0) {
		free(m);
		return r;
	}
	*self = m;
	return 0;
}

BV_MODULE_EXPORT extern const struct bv_module bvisor_module;
const struct bv_module bvisor_module = {
	.head = BV_HEAD(MODULE, struct bv_module),
	.name = "blocklist",
	.version = "0.1.0",
	.options = options,
	.n_options = BV_ROWS(options),
	.option_size = sizeof(options[0]),
	.handlers = calls_handlers,
	.n_handlers = CALLS_N_HANDLERS,
	.handler_size = sizeof(struct bv_handler),
	.conf_size = sizeof(struct blocklist_conf),
	.init = init,
	.fini = free,
};
