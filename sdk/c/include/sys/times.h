/* Puts the times of librefrain.a in the place of wasi-libc's, which is an emulation that has to be asked for, and fills in
 * the wrong field. */
#ifndef REFRAIN_SYS_TIMES_H
#define REFRAIN_SYS_TIMES_H

#ifndef _WASI_EMULATED_PROCESS_CLOCKS
#define _WASI_EMULATED_PROCESS_CLOCKS
#endif
#include_next <sys/times.h>

#include <refrain/symbol.h>

#ifdef __cplusplus
extern "C" {
#endif

clock_t times(struct tms *) REFRAIN_SYMBOL(times);

#ifdef __cplusplus
}
#endif

#endif
