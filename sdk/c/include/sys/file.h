/* Adds flock to wasi-libc's <sys/file.h>, which declares it and does not have it. A guest is alone with its files. */
#ifndef REFRAIN_SYS_FILE_H
#define REFRAIN_SYS_FILE_H

#include_next <sys/file.h>

#include <refrain/symbol.h>

#ifdef __cplusplus
extern "C" {
#endif

int flock(int, int) REFRAIN_SYMBOL(flock);

#ifdef __cplusplus
}
#endif

#endif
