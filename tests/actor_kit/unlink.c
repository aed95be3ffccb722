/* Removes a file, and does nothing else. */
#include <unistd.h>

int main(int argc, char **argv)
{
	return argc != 2 || unlink(argv[1]) != 0;
}
