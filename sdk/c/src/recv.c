/* recv(2) with MSG_PEEK, MSG_WAITALL, MSG_DONTWAIT and MSG_TRUNC. */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <wasi/api.h>

#include "datagram.h"
#include "nonblocking.h"

ssize_t recv(int fd, void *restrict buffer, size_t len, int flags)
{
    struct iovec vector = {buffer, len};
    struct vectors vectors = {&vector, 1, NULL};
    __wasi_riflags_t in_flags = 0;
    __wasi_roflags_t out_flags = 0;
    __wasi_fdflags_t before = 0;
    __wasi_size_t received = 0;
    int error = 0;
    bool restore = false;
    if ((flags & ~(MSG_PEEK | MSG_WAITALL | MSG_DONTWAIT | MSG_NOSIGNAL | MSG_TRUNC)) != 0) {
        errno = EOPNOTSUPP;
        return -1;
    }
    if ((flags & MSG_PEEK) != 0)
        in_flags |= __WASI_RIFLAGS_RECV_PEEK;
    if ((flags & MSG_WAITALL) != 0)
        in_flags |= __WASI_RIFLAGS_RECV_WAITALL;
    if ((flags & MSG_TRUNC) != 0)
        error = refrain_whole_datagram(fd, &vectors);
    if (error == 0 && (flags & MSG_DONTWAIT) != 0)
        restore = refrain_set_nonblocking(fd, &before);
    if (error == 0)
        error = __wasi_sock_recv(fd, (const __wasi_iovec_t *)vectors.at, vectors.count, in_flags, &received, &out_flags);
    if (restore)
        (void)__wasi_fd_fdstat_set_flags(fd, before);
    free(vectors.block);
    if (error != 0) {
        errno = error;
        return -1;
    }
    return (ssize_t)received;
}
