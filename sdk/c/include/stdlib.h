/* Adds temporary files, realpath and system to wasi-libc's <stdlib.h>. */
#ifndef REFRAIN_STDLIB_H
#define REFRAIN_STDLIB_H

#include_next <stdlib.h>

#include <refrain/symbol.h>

#ifdef __cplusplus
extern "C" {
#endif

int system(const char *) REFRAIN_SYMBOL(system);
int mkstemp(char *) REFRAIN_SYMBOL(mkstemp);
char *mkdtemp(char *) REFRAIN_SYMBOL(mkdtemp);
char *realpath(const char *__restrict, char *__restrict) REFRAIN_SYMBOL(realpath);

#ifdef __cplusplus
}
#endif

#endif
