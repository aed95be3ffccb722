/* The floor: vfork and execv, nothing prepared, nothing captured but the stamp.
 * usage: spawn_floor STAMP COUNT; prints the nanoseconds from before the vfork
 * to the command's first instructions, one number a line. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    int out[2], count = argc > 2 ? atoi(argv[2]) : 0;
    char *args[] = {argv[1], 0}, text[64];
    FILE *report = fdopen(dup(1), "w");
    if (pipe(out) || dup2(out[1], 1) < 0 || !report)
        return 1;
    while (count--) {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        pid_t child = vfork();
        if (child == 0) {
            execv(args[0], args);
            _exit(127);
        }
        if (child < 0 || waitpid(child, 0, 0) < 0)
            return 1;
        text[read(out[0], text, sizeof text - 1)] = 0;
        fprintf(report, "%lld\n", atoll(text) - t.tv_sec * 1000000000LL - t.tv_nsec);
    }
    return fclose(report) != 0;
}
