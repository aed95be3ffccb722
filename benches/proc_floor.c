/* What it costs to be told of processes, and nothing else: the least that who=true can
 * cost. A real-time thread on each processor takes the messages of what is executed there;
 * all others are taken 32 at a time, after each.
 *
 * usage: proc_floor messages|program: until SIGTERM; prints nanoseconds of CPU and how many
 * were executed. `program` reads exe and cmdline of each, too. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/cn_proc.h>
#include <linux/connector.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define HEAD (sizeof(struct nlmsghdr) + sizeof(struct cn_msg))
#define MANY 32

static int others, reads;
static atomic_long executed;

static int must(int result, const char *what)
{
	if (result < 0) {
		perror(what);
		exit(1);
	}
	return result;
}

/* Executed on `cpu`; below 0: everything but that. */
static int listen_to(int cpu)
{
	struct sock_filter one[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, HEAD),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htonl(PROC_EVENT_EXEC), 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, HEAD + 4),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htonl(cpu), 0, 1),
		BPF_STMT(BPF_RET | BPF_K, -1),
		BPF_STMT(BPF_RET | BPF_K, 0),
	}, rest[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, HEAD),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htonl(PROC_EVENT_EXEC), 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0),
		BPF_STMT(BPF_RET | BPF_K, -1),
	};
	struct sock_fprog program = cpu < 0 ? (struct sock_fprog){4, rest} : (struct sock_fprog){6, one};
	struct sockaddr_nl group = {.nl_family = AF_NETLINK, .nl_groups = CN_IDX_PROC};
	struct {
		struct nlmsghdr head;
		struct cn_msg msg;
		unsigned listen, events;
	} __attribute__((packed)) ask = {
		.head = {.nlmsg_len = sizeof ask, .nlmsg_type = NLMSG_DONE},
		.msg = {.id = {CN_IDX_PROC, CN_VAL_PROC}, .len = 8},
		.listen = PROC_CN_MCAST_LISTEN,
		.events = PROC_EVENT_FORK | PROC_EVENT_EXEC | PROC_EVENT_UID | PROC_EVENT_GID | PROC_EVENT_EXIT,
	};
	int room = 32 << 20, fd = must(socket(AF_NETLINK, SOCK_DGRAM, NETLINK_CONNECTOR), "socket");
	must(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program), "filter");
	must(bind(fd, (void *)&group, sizeof group), "bind");
	must(setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room), "room");
	must(send(fd, &ask, sizeof ask, 0), "send");
	return fd;
}

static void look(int pid)
{
	char text[4096];
	snprintf(text, sizeof text, "/proc/%d", pid);
	int dir = open(text, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (readlinkat(dir, "exe", text, sizeof text) > 0) {
		int fd = openat(dir, "cmdline", O_RDONLY | O_CLOEXEC);
		if (read(fd, text, sizeof text) > 0)
			atomic_fetch_add(&executed, 1);
		close(fd);
	}
	close(dir);
}

static void take_others(void)
{
	static char buffers[MANY][128];
	struct iovec parts[MANY];
	struct mmsghdr heads[MANY];
	memset(heads, 0, sizeof heads);
	for (int i = 0; i < MANY; i++) {
		parts[i] = (struct iovec){buffers[i], sizeof buffers[i]};
		heads[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
	}
	while (recvmmsg(others, heads, MANY, MSG_DONTWAIT, 0) == MANY)
		;
}

static void *run(void *which)
{
	long cpu = (long)which;
	int fd = listen_to(cpu);
	cpu_set_t one;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	must(sched_setaffinity(0, sizeof one, &one), "affinity");
	struct sched_param first = {1};
	must(sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &first), "real time");
	for (;;) {
		char message[256];
		if (recv(fd, message, sizeof message, 0) < (ssize_t)(HEAD + 24))
			continue;
		struct proc_event *event = (void *)(message + HEAD);
		if (reads)
			look(event->event_data.exec.process_tgid);
		else
			atomic_fetch_add(&executed, 1);
		take_others();
	}
	return 0;
}

int main(int argc, char **argv)
{
	reads = argc > 1 && strcmp(argv[1], "program") == 0;
	sigset_t term;
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_BLOCK, &term, 0);
	others = listen_to(-1);
	for (long cpu = 0; cpu < sysconf(_SC_NPROCESSORS_ONLN); cpu++) {
		pthread_t thread;
		must(-pthread_create(&thread, 0, run, (void *)cpu), "thread");
	}
	puts("ready");
	fflush(stdout);
	int signal;
	sigwait(&term, &signal);
	struct timespec used;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
	printf("%lld %ld\n", used.tv_sec * 1000000000LL + used.tv_nsec, executed);
	fflush(stdout);
	_exit(0);
}
