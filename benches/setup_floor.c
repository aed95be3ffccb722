/* The floor of setting up a tree: one loop of open, getdents64 and
 * inotify_add_watch, depth first. Prints nanoseconds of CPU and of the wall, and
 * the number of directories.
 *
 * usage: setup_floor DIR */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int in;
static long count;
static char path[4096];

struct entry {
    unsigned long ino, off;
    unsigned short len;
    unsigned char type;
    char name[];
};

static long now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1000000000L + t.tv_nsec;
}

static void visit(int parent, const char *name, size_t end)
{
    if (inotify_add_watch(in, path, IN_CLOSE_WRITE | IN_CREATE | IN_MOVED_TO | IN_ONLYDIR) < 0) {
        perror(path);
        exit(1);
    }
    count++;
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return;
    char buf[8192];
    long n;
    while ((n = syscall(SYS_getdents64, fd, buf, sizeof buf)) > 0)
        for (long at = 0; at < n;) {
            struct entry *e = (struct entry *)(buf + at);
            at += e->len;
            if (e->type != 4 || !strcmp(e->name, ".") || !strcmp(e->name, ".."))
                continue;
            size_t len = strlen(e->name);
            path[end] = '/';
            memcpy(path + end + 1, e->name, len + 1);
            visit(fd, e->name, end + 1 + len);
            path[end] = 0;
        }
    close(fd);
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    strcpy(path, argv[1]);
    long wall = now(CLOCK_MONOTONIC), cpu = now(CLOCK_PROCESS_CPUTIME_ID);
    in = inotify_init1(IN_CLOEXEC);
    visit(AT_FDCWD, argv[1], strlen(path));
    printf("%ld %ld %ld\n", now(CLOCK_PROCESS_CPUTIME_ID) - cpu, now(CLOCK_MONOTONIC) - wall, count);
    return 0;
}
