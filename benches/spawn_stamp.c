/* A command that starts as fast as any can: no libc, one read of the clock, one
 * write of "NANOSECONDS\n" to standard output. gcc -O2 -static -nostdlib */
#include <sys/syscall.h>
#include <time.h>

static long call(long number, long a, long b, long c)
{
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c)
                     : "rcx", "r11", "memory");
    return result;
}

void _start(void)
{
    struct timespec now;
    char text[32], *p = text + sizeof text;
    call(SYS_clock_gettime, CLOCK_MONOTONIC, (long)&now, 0);
    unsigned long n = now.tv_sec * 1000000000UL + now.tv_nsec;
    *--p = '\n';
    do
        *--p = '0' + n % 10;
    while (n /= 10);
    call(SYS_write, 1, (long)p, text + sizeof text - p);
    call(SYS_exit, 0, 0, 0);
}
