/* Makes N events, each different from the one before it, because inotify merges
 * equal neighbours (inotify(7)).
 *
 * usage: flood DIR N MODE
 *   modify   writes to two files in turn: N events of IN_MODIFY
 *   one      writes to one file and changes its mode in turn: N events of one path
 *   close    opens and closes two files for writing in turn: N events of IN_CLOSE_WRITE */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc < 4 || chdir(argv[1]))
        return 2;
    long n = atol(argv[2]);
    const char *names[2] = {"flood-a", "flood-b"};
    if (!strcmp(argv[3], "close")) {
        for (long i = 0; i < n; i++) {
            int fd = open(names[i & 1], O_CREAT | O_WRONLY, 0644);
            if (fd < 0 || close(fd))
                return 1;
        }
        return 0;
    }
    int fd[2];
    for (int i = 0; i < 2; i++)
        if ((fd[i] = open(names[i], O_CREAT | O_WRONLY, 0644)) < 0)
            return 1;
    int one = !strcmp(argv[3], "one");
    for (long i = 0; i < n; i++) {
        if (one && (i & 1)) {
            if (fchmod(fd[0], 0644))
                return 1;
        } else if (pwrite(fd[one ? 0 : i & 1], "x", 1, 0) != 1)
            return 1;
    }
    return 0;
}
