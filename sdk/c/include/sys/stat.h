/* Adds modes to wasi-libc's <sys/stat.h>. Files of a guest have none: setting them is taken where the file is, and
 * changes nothing. */
#ifndef REFRAIN_SYS_STAT_H
#define REFRAIN_SYS_STAT_H

#include_next <sys/stat.h>

#include <refrain/symbol.h>

#ifdef __cplusplus
extern "C" {
#endif

int chmod(const char *, mode_t) REFRAIN_SYMBOL(chmod);
int fchmod(int, mode_t) REFRAIN_SYMBOL(fchmod);
mode_t umask(mode_t) REFRAIN_SYMBOL(umask);
int mkfifo(const char *, mode_t) REFRAIN_SYMBOL(mkfifo);

#ifdef __cplusplus
}
#endif

#endif
