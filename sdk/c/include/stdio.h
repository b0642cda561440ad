/* Adds tmpfile and popen to wasi-libc's <stdio.h>. */
#ifndef REFRAIN_STDIO_H
#define REFRAIN_STDIO_H

/* wasi-libc's declaration warns at every use that there is no such call. */
#define tmpfile refrain_no_tmpfile
#include_next <stdio.h>
#undef tmpfile

#include <refrain/symbol.h>

#ifdef __cplusplus
extern "C" {
#endif

FILE *tmpfile(void) REFRAIN_SYMBOL(tmpfile);
FILE *popen(const char *, const char *) REFRAIN_SYMBOL(popen);
int pclose(FILE *) REFRAIN_SYMBOL(pclose);

#ifdef __cplusplus
}
#endif

#endif
