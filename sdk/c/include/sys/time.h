/* Adds interval timers to wasi-libc's <sys/time.h>: there is no signal that they could send, so they fail with ENOSYS. */
#ifndef REFRAIN_SYS_TIME_H
#define REFRAIN_SYS_TIME_H

#include_next <sys/time.h>

#include <refrain/symbol.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef ITIMER_REAL
#define ITIMER_REAL 0
#define ITIMER_VIRTUAL 1
#define ITIMER_PROF 2

struct itimerval {
    struct timeval it_interval;
    struct timeval it_value;
};
#endif

int getitimer(int, struct itimerval *) REFRAIN_SYMBOL(getitimer);
int setitimer(int, const struct itimerval *__restrict, struct itimerval *__restrict) REFRAIN_SYMBOL(setitimer);

#ifdef __cplusplus
}
#endif

#endif
