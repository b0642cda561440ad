/* Adds tzset to wasi-libc's <time.h>: local time is UTC. */
#ifndef REFRAIN_TIME_H
#define REFRAIN_TIME_H

/* Without this wasi-libc declares clock as a call that must not be used. */
#ifndef _WASI_EMULATED_PROCESS_CLOCKS
#define _WASI_EMULATED_PROCESS_CLOCKS
#endif
#include_next <time.h>

#include <refrain/symbol.h>

#ifdef __cplusplus
extern "C" {
#endif

void tzset(void) REFRAIN_SYMBOL(tzset);
clock_t clock(void) REFRAIN_SYMBOL(clock);

#ifdef __cplusplus
}
#endif

#endif
