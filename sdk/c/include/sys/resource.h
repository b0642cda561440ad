/* Adds limits to wasi-libc's <sys/resource.h>. Those of a guest are in its manifest: what is asked for here is
 * answered as unlimited, what is set is taken and changes nothing. */
#ifndef REFRAIN_SYS_RESOURCE_H
#define REFRAIN_SYS_RESOURCE_H

#ifndef _WASI_EMULATED_PROCESS_CLOCKS
#define _WASI_EMULATED_PROCESS_CLOCKS
#endif
#include_next <sys/resource.h>

#include <refrain/symbol.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef RLIMIT_NOFILE
typedef unsigned long long rlim_t;

struct rlimit {
    rlim_t rlim_cur;
    rlim_t rlim_max;
};

#define RLIM_INFINITY (~0ULL)
#define RLIM_SAVED_CUR RLIM_INFINITY
#define RLIM_SAVED_MAX RLIM_INFINITY
#define RLIMIT_CPU 0
#define RLIMIT_FSIZE 1
#define RLIMIT_DATA 2
#define RLIMIT_STACK 3
#define RLIMIT_CORE 4
#define RLIMIT_NPROC 6
#define RLIMIT_NOFILE 7
#define RLIMIT_AS 9
#endif

int getrlimit(int, struct rlimit *) REFRAIN_SYMBOL(getrlimit);
int setrlimit(int, const struct rlimit *) REFRAIN_SYMBOL(setrlimit);
int getrusage(int, struct rusage *) REFRAIN_SYMBOL(getrusage);

#ifdef __cplusplus
}
#endif

#endif
