/* usage: storm PROGRAM DIR COUNT AT_ONCE UID: runs `PROGRAM DIR/I` for each I, as
 * that user, each reaped as soon as it ends; prints "PID I" of each. Apart from the
 * one who listens, as whoever changes files is. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	if (argc != 6)
		return 2;
	int count = atoi(argv[3]), at_once = atoi(argv[4]), uid = atoi(argv[5]), running = 0;
	for (int i = 0; i < count; i++) {
		char file[8192];
		snprintf(file, sizeof file, "%s/%d", argv[2], i);
		int fd = open(file, O_CREAT | O_WRONLY, 0644);
		if (fd < 0 || close(fd) < 0)
			return 1;
		int status = 0;
		if (running == at_once && (wait(&status) < 0 || status || !running--))
			return 1;
		pid_t child = fork();
		if (child < 0)
			return 1;
		if (child == 0) {
			if (setuid(uid) < 0)
				_exit(1);
			execl(argv[1], argv[1], file, (char *)0);
			_exit(1);
		}
		running++;
		printf("%d %d\n", child, i);
	}
	int status;
	while (wait(&status) > 0)
		if (status)
			return 1;
	return 0;
}
