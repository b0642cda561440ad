/* MSG_TRUNC: a receive that tells the length of the whole datagram, however little of it the caller takes. */
#ifndef REFRAIN_DATAGRAM_H
#define REFRAIN_DATAGRAM_H

#include <stddef.h>
#include <sys/uio.h>

/* Buffers of a receive. */
struct vectors {
    const struct iovec *at;
    size_t count;
    void *block; /* to be freed after the call */
};

/* Adds a last buffer for what a datagram has beyond the others, where `fd` receives datagrams; returns 0 or an errno. On
 * a connection there is no such thing, and nothing changes. */
int refrain_whole_datagram(int fd, struct vectors *vectors);

#endif
