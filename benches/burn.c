/* A hook that keeps its table busy for ever: burns MILLISECONDS of CPU, then makes
 * two new files in DIR, each of which runs it again.
 *
 * usage: burn MILLISECONDS DIR NAME */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static long cpu(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int main(int argc, char **argv)
{
    if (argc < 3 || chdir(argv[2]))
        return 2;
    while (cpu() < atol(argv[1])) {
    }
    for (int i = 0; i < 2; i++) {
        char name[64];
        snprintf(name, sizeof name, "burnt-%d", (int)getpid() * 2 % 512 + i);
        int fd = open(name, O_CREAT | O_WRONLY, 0644);
        if (fd >= 0)
            close(fd);
    }
    return 0;
}
