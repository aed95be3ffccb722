/* What a process may do to be taken for another. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void need(int ok, const char *what)
{
	if (!ok) {
		perror(what);
		_exit(1);
	}
}

static int is(const char *word, const char *trick)
{
	return word && strcmp(word, trick) == 0;
}

/* Numbers of the outer namespace, by what /proc of it says of the inner process. */
static void tell_outer(void)
{
	char number[32];
	ssize_t length = readlink("/proc/self", number, sizeof number - 1);
	need(length > 0, "/proc/self");
	number[length] = 0;
	puts(number);
	fflush(stdout);
}

static void reuse(void)
{
	for (int i = 0; i < 50; i++) {
		int fd = open("/proc/sys/kernel/ns_last_pid", O_WRONLY);
		need(fd >= 0 && write(fd, "1", 1) == 1, "ns_last_pid");
		close(fd);
		pid_t child = fork();
		need(child >= 0, "fork");
		if (child == 0) {
			char name[16];
			need(getpid() == 2, "the number 2");
			snprintf(name, sizeof name, "n%d", i);
			tell_outer();
			execl("/bin/true", name, (char *)0);
			_exit(1);
		}
		need(waitpid(child, 0, 0) == child, "wait");
	}
}

int main(int argc, char **argv)
{
	char *trick = argc > 1 ? argv[1] : 0;
	if (is(trick, "rename")) {
		prctl(PR_SET_NAME, "kworker/0:1");
	} else if (is(trick, "argv")) {
		memset(argv[0], 'x', strlen(argv[0]));
		memset(argv[1], 'y', strlen(argv[1]));
	} else if (is(trick, "deleted")) {
		need(unlink(argv[0]) == 0, "unlink");
		execl("/proc/self/exe", argv[0], (char *)0);
		need(0, "execl");
	} else if (is(trick, "memfd")) {
		int to = memfd_create("innocent", MFD_CLOEXEC), from = open("/proc/self/exe", O_RDONLY);
		struct stat self;
		char *words[] = {"kworker", 0}, *none[] = {0};
		need(to >= 0 && from >= 0 && fstat(from, &self) == 0, "memfd");
		need(sendfile(to, from, 0, self.st_size) == self.st_size, "sendfile");
		fexecve(to, words, none);
		need(0, "fexecve");
	} else if (is(trick, "loop")) {
		char left[16];
		int n = atoi(argv[2]);
		if (n > 0) {
			snprintf(left, sizeof left, "%d", n - 1);
			execl("/proc/self/exe", argv[0], "loop", left, (char *)0);
			need(0, "execl");
		}
	} else if (is(trick, "children")) {
		for (int i = 0; i < atoi(argv[2]); i++) {
			pid_t child = fork();
			need(child >= 0, "fork");
			if (child == 0)
				_exit(0);
			printf("%d\n", child);
			if (i % 8 == 7)
				while (waitpid(-1, 0, WNOHANG) > 0)
					;
		}
	} else if (is(trick, "clone-parent")) {
		long child = syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);
		need(child >= 0, "clone");
		if (child == 0) {
			char byte;
			return read(0, &byte, 1) != 0;
		}
		printf("%ld\n", child);
	} else if (is(trick, "become")) {
		uid_t uid = atoi(argv[2]);
		need(setresgid(uid + 1, uid + 1, uid + 1) == 0, "setresgid");
		need(setresuid(uid, uid, uid) == 0, "setresuid");
	} else if (is(trick, "namespace") || is(trick, "reuse")) {
		need(unshare(CLONE_NEWPID) == 0, "unshare");
		pid_t child = fork();
		need(child >= 0, "fork");
		if (child == 0) {
			if (is(trick, "reuse")) {
				reuse();
				return 0;
			}
			tell_outer();
			execl("/bin/true", "true", (char *)0);
			_exit(1);
		}
		int status;
		need(waitpid(child, &status, 0) == child && status == 0, "child");
	}
	return 0;
}
