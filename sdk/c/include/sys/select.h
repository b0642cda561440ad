/* Puts the select of librefrain.a in the place of wasi-libc's, which refuses to look for exceptional conditions and
 * takes 128 bytes of stack for each descriptor. */
#ifndef REFRAIN_SYS_SELECT_H
#define REFRAIN_SYS_SELECT_H

#include_next <sys/select.h>

#include <refrain/symbol.h>

#ifdef __cplusplus
extern "C" {
#endif

int select(int, fd_set *__restrict, fd_set *__restrict, fd_set *__restrict, struct timeval *__restrict)
    REFRAIN_SYMBOL(select);
int pselect(int, fd_set *__restrict, fd_set *__restrict, fd_set *__restrict, const struct timespec *__restrict,
            const sigset_t *__restrict) REFRAIN_SYMBOL(pselect);

#ifdef __cplusplus
}
#endif

#endif
