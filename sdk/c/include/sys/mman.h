/* Turns on wasi-libc's emulation of memory maps (link with -lwasi-emulated-mman): memory, and private copies of files,
 * whose changes are not written back. */
#ifndef REFRAIN_SYS_MMAN_H
#define REFRAIN_SYS_MMAN_H

#ifndef _WASI_EMULATED_MMAN
#define _WASI_EMULATED_MMAN
#endif
#include_next <sys/mman.h>

#endif
