/* What it costs to be told of processes, and nothing else: the least that who=true can
 * cost. A real-time thread on each processor takes the messages of what is executed there;
 * all others are taken 32 at a time, after each.
 *
 * usage: proc_floor messages|program|events|records [DIR COMMAND]: until SIGTERM; prints nanoseconds
 * of CPU and how many were executed. `program` reads exe and cmdline of each, too. `events`
 * also reads, at once, what is made and removed on the file system of DIR, and writes a line
 * about each removal, with the program that its number had, to COMMAND, whose CPU counts.
 * `records` is that without the messages and the programs. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/cn_proc.h>
#include <linux/connector.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define HEAD (sizeof(struct nlmsghdr) + sizeof(struct cn_msg))
#define MANY 32

#define KNOWN 65536 /* numbers that are told apart; more than the kernel gives in one run */

static int others, reads;
static atomic_long executed;
/* exe, a zero byte, and the words of the command line, each with one. */
static struct { int pid, length; char text[512]; } known[KNOWN];
static pthread_mutex_t of_known = PTHREAD_MUTEX_INITIALIZER;

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

static void keep(int pid, const char *text, size_t length)
{
	if (length > sizeof known->text)
		length = sizeof known->text;
	pthread_mutex_lock(&of_known);
	known[pid % KNOWN].pid = pid;
	known[pid % KNOWN].length = length;
	memcpy(known[pid % KNOWN].text, text, length);
	pthread_mutex_unlock(&of_known);
}

static void look(int pid)
{
	char text[4096];
	snprintf(text, sizeof text, "/proc/%d", pid);
	int dir = open(text, O_PATH | O_DIRECTORY | O_CLOEXEC);
	ssize_t exe = readlinkat(dir, "exe", text, 255);
	if (exe > 0) {
		text[exe++] = 0;
		int fd = openat(dir, "cmdline", O_RDONLY | O_CLOEXEC);
		ssize_t words = read(fd, text + exe, sizeof text - exe);
		if (words > 0) {
			atomic_fetch_add(&executed, 1);
			keep(pid, text, exe + words);
		}
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

/* A line of JSON, as far as it can be had for nothing. */
static void tell(FILE *command, const char *dir, const char *name, int pid)
{
	char line[2048];
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	int at = snprintf(line, sizeof line, "{\"time\":%lld.%09ld,\"event\":\"IN_DELETE\",\"path\":\"%s/%s\",\"pid\":%d,\"exe\":\"",
			  (long long)now.tv_sec, now.tv_nsec, dir, name, pid);
	pthread_mutex_lock(&of_known);
	if (known[pid % KNOWN].pid == pid)
		for (int i = 0; i < known[pid % KNOWN].length && at < (int)sizeof line - 8; i++)
			line[at++] = known[pid % KNOWN].text[i] ? known[pid % KNOWN].text[i] : ' ';
	pthread_mutex_unlock(&of_known);
	memcpy(line + at, "\"}\n", 4);
	write(fileno(command), line, at + 3);
}

static void read_events(int group, FILE *command, const char *dir)
{
	static char buffer[256 << 10];
	ssize_t length = read(group, buffer, sizeof buffer);
	struct fanotify_event_metadata *event = (void *)buffer;
	for (; FAN_EVENT_OK(event, length); event = FAN_EVENT_NEXT(event, length)) {
		const char *name = "", *at = (char *)(event + 1), *end = (char *)event + event->event_len;
		while (at < end) {
			const struct fanotify_event_info_fid *info = (void *)at;
			const struct file_handle *handle = (void *)info->handle;
			const struct fanotify_event_info_pidfd *process = (void *)at;
			if (info->hdr.info_type == FAN_EVENT_INFO_TYPE_DFID_NAME)
				name = (char *)handle->f_handle + handle->handle_bytes;
			else if (info->hdr.info_type == FAN_EVENT_INFO_TYPE_PIDFD && process->pidfd >= 0)
				close(process->pidfd);
			at += info->hdr.len;
		}
		if (event->mask & FAN_DELETE)
			tell(command, dir, name, event->pid);
	}
}

/* Until SIGTERM. */
static void listen_for_events(int term, const char *dir, FILE *command)
{
	int group = must(fanotify_init(FAN_CLASS_NOTIF | FAN_CLOEXEC | FAN_NONBLOCK | FAN_UNLIMITED_QUEUE |
				       FAN_REPORT_DFID_NAME_TARGET | FAN_REPORT_PIDFD, O_RDONLY), "fanotify_init");
	must(fanotify_mark(group, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, FAN_CREATE | FAN_DELETE | FAN_RENAME | FAN_ONDIR,
			   AT_FDCWD, dir), "fanotify_mark");
	puts("ready");
	fflush(stdout);
	struct pollfd waits[] = {{group, POLLIN, 0}, {term, POLLIN, 0}};
	while (poll(waits, 2, -1) < 0 || !waits[1].revents)
		if (waits[0].revents)
			read_events(group, command, dir);
	pclose(command);
}

int main(int argc, char **argv)
{
	int records = argc > 3 && strcmp(argv[1], "records") == 0;
	int events = records || (argc > 3 && strcmp(argv[1], "events") == 0);
	reads = events || (argc > 1 && strcmp(argv[1], "program") == 0);
	FILE *command = events ? popen(argv[3], "w") : 0;
	sigset_t term;
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_BLOCK, &term, 0);
	if (!records)
		others = listen_to(-1);
	for (long cpu = 0; cpu < sysconf(_SC_NPROCESSORS_ONLN) && !records; cpu++) {
		pthread_t thread;
		must(-pthread_create(&thread, 0, run, (void *)cpu), "thread");
	}
	if (events) {
		listen_for_events(must(signalfd(-1, &term, SFD_CLOEXEC), "signalfd"), argv[2], command);
	} else {
		puts("ready");
		fflush(stdout);
		int signal;
		sigwait(&term, &signal);
	}
	struct timespec used;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
	struct rusage commands;
	getrusage(RUSAGE_CHILDREN, &commands);
	used.tv_sec += commands.ru_utime.tv_sec + commands.ru_stime.tv_sec;
	used.tv_nsec += (commands.ru_utime.tv_usec + commands.ru_stime.tv_usec) * 1000L;
	printf("%lld %ld\n", used.tv_sec * 1000000000LL + used.tv_nsec, executed);
	fflush(stdout);
	_exit(0);
}
