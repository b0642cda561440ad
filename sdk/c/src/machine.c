/* The machine and its limits, time zones: one answer for all replicas. */
#include <errno.h>
#include <net/if.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/times.h>
#include <time.h>
#include <unistd.h>

enum { WASM_PAGE = 65536, DESCRIPTORS = 65536 };

int gethostname(char *name, size_t size)
{
    static const char host[] = "localhost";
    if (size < sizeof host) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(name, host, sizeof host);
    return 0;
}

int getpagesize(void)
{
    return WASM_PAGE;
}

int getdtablesize(void)
{
    return DESCRIPTORS;
}

int getrlimit(int resource, struct rlimit *limit)
{
    limit->rlim_cur = limit->rlim_max = resource == RLIMIT_NOFILE ? DESCRIPTORS : RLIM_INFINITY;
    return 0;
}

int setrlimit(int resource, const struct rlimit *limit)
{
    (void)resource, (void)limit;
    return 0;
}

/* Time of the log: a guest sees no time of the processor. */
int getrusage(int who, struct rusage *usage)
{
    struct timespec now;
    (void)who;
    memset(usage, 0, sizeof *usage);
    if (clock_gettime(CLOCK_MONOTONIC, &now) != 0)
        return -1;
    usage->ru_utime.tv_sec = now.tv_sec;
    usage->ru_utime.tv_usec = (suseconds_t)(now.tv_nsec / 1000);
    return 0;
}

clock_t clock(void)
{
    struct timespec now;
    if (clock_gettime(CLOCK_MONOTONIC, &now) != 0)
        return (clock_t)-1;
    return (clock_t)((long long)now.tv_sec * CLOCKS_PER_SEC + (long long)now.tv_nsec * CLOCKS_PER_SEC / 1000000000);
}

/* In ticks of sysconf(_SC_CLK_TCK), not in those of clock. */
clock_t times(struct tms *used)
{
    struct timespec now;
    long long a_second = sysconf(_SC_CLK_TCK);
    if (clock_gettime(CLOCK_MONOTONIC, &now) != 0)
        return (clock_t)-1;
    clock_t ticks = (clock_t)(now.tv_sec * a_second + now.tv_nsec * a_second / 1000000000);
    if (used != NULL) {
        memset(used, 0, sizeof *used);
        used->tms_utime = ticks;
    }
    return ticks;
}

void tzset(void)
{
}

unsigned if_nametoindex(const char *name)
{
    (void)name;
    errno = ENODEV;
    return 0;
}

char *if_indextoname(unsigned index, char *name)
{
    (void)index, (void)name;
    errno = ENXIO;
    return NULL;
}
