/* Puts the calls of <err.h>, which wasi-libc declares and older ones do not have, into librefrain.a. */
#ifndef REFRAIN_ERR_H
#define REFRAIN_ERR_H

#include <stdarg.h>
#include_next <err.h>

#include <refrain/symbol.h>

#define REFRAIN_NORETURN __attribute__((__noreturn__))

#ifdef __cplusplus
extern "C" {
#endif

void warn(const char *, ...) REFRAIN_SYMBOL(warn);
void vwarn(const char *, va_list) REFRAIN_SYMBOL(vwarn);
void warnx(const char *, ...) REFRAIN_SYMBOL(warnx);
void vwarnx(const char *, va_list) REFRAIN_SYMBOL(vwarnx);
REFRAIN_NORETURN void err(int, const char *, ...) REFRAIN_SYMBOL(err);
REFRAIN_NORETURN void verr(int, const char *, va_list) REFRAIN_SYMBOL(verr);
REFRAIN_NORETURN void errx(int, const char *, ...) REFRAIN_SYMBOL(errx);
REFRAIN_NORETURN void verrx(int, const char *, va_list) REFRAIN_SYMBOL(verrx);

#ifdef __cplusplus
}
#endif

#endif
