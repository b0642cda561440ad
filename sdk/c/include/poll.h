/* Puts the poll of librefrain.a in the place of wasi-libc's; see src/poll.c for what it does better. */
#ifndef REFRAIN_POLL_H
#define REFRAIN_POLL_H

#include_next <poll.h>

#include <refrain/symbol.h>

/* Data out of turn, and in bands: they may be asked for, and never come. */
#ifndef POLLPRI
#define POLLPRI 0x10
#endif
#ifndef POLLRDBAND
#define POLLRDBAND 0x20
#define POLLWRBAND 0x40
#endif

#ifdef __cplusplus
extern "C" {
#endif

int poll(struct pollfd *, nfds_t, int) REFRAIN_SYMBOL(poll);

#ifdef __cplusplus
}
#endif

#endif
