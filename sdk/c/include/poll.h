/* Puts the poll of librefrain.a in the place of wasi-libc's; see src/poll.c for what it does better. */
#ifndef REFRAIN_POLL_H
#define REFRAIN_POLL_H

#include_next <poll.h>

#ifdef __cplusplus
extern "C" {
#endif

int poll(struct pollfd *, nfds_t, int) __asm__("refrain_poll");

#ifdef __cplusplus
}
#endif

#endif
