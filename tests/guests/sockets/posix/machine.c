/* The machine, its limits, its clocks and its memory. */
#include <fcntl.h>
#include <net/if.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/times.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

static void clocks(void)
{
    struct rusage before, after;
    struct tm *local;
    time_t epoch = 0;
    clock_t first = clock();
    struct tms used;
    IS(getrusage(RUSAGE_SELF, &before), 0);
    IS(first >= 0 && clock() >= first, 1);
    IS(getrusage(RUSAGE_SELF, &after), 0);
    IS(after.ru_utime.tv_sec > before.ru_utime.tv_sec ||
           (after.ru_utime.tv_sec == before.ru_utime.tv_sec && after.ru_utime.tv_usec >= before.ru_utime.tv_usec), 1);
    IS(after.ru_stime.tv_sec, 0);
    first = times(&used);
    IS(first >= 0 && first == used.tms_utime, 1);
    IS(used.tms_stime, 0);
    IS(used.tms_cutime, 0);
    IS(usleep(50000), 0);
    IS(times(&used) - first >= 5, 1);
    IS(times(NULL) - first >= 5, 1);
    tzset();
    local = localtime(&epoch);
    IS(local != NULL && local->tm_hour == 0 && local->tm_mday == 1, 1);
}

static void maps(void)
{
    int fd = open("/mapped", O_CREAT | O_RDWR, 0600);
    char *memory = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), byte;
    IS(memory != MAP_FAILED && memory[0] == 0 && memory[8191] == 0, 1);
    IS(munmap(memory, 8192), 0);
    IS(write(fd, "0123456789", 10), 10);
    memory = mmap(NULL, 6, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 4);
    IS(memory != MAP_FAILED && memcmp(memory, "456789", 6) == 0, 1);
    memory[0] = 'x';
    IS(munmap(memory, 6), 0);
    IS(pread(fd, &byte, 1, 4) == 1 && byte == '4', 1);
    FAILS(mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -1 : 0, EINVAL);
    IS(close(fd), 0);
}

void machine(void)
{
    char name[64];
    struct rlimit limit = {1, 1};
    IS(gethostname(name, sizeof name), 0);
    IS(strcmp(name, "localhost"), 0);
    FAILS(gethostname(name, 9), ENAMETOOLONG);
    IS(getpagesize(), 65536);
    IS(getdtablesize(), 65536);
    IS(getrlimit(RLIMIT_NOFILE, &limit), 0);
    IS(limit.rlim_cur, 65536);
    IS(getrlimit(RLIMIT_AS, &limit), 0);
    IS(limit.rlim_max == RLIM_INFINITY, 1);
    limit.rlim_cur = 16;
    IS(setrlimit(RLIMIT_NOFILE, &limit), 0);
    IS(getrlimit(RLIMIT_NOFILE, &limit), 0);
    IS(limit.rlim_cur, 65536);
    errno = 0;
    IS(if_nametoindex("lo"), 0);
    IS(errno, ENODEV);
    FAILS_NULL(if_indextoname(1, name), ENXIO);
    clocks();
    maps();
}
