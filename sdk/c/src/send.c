/* send(2). wasi-libc's own refuses every flag; MSG_NOSIGNAL is what happens anyway, as there are no signals, and
 * MSG_DONTWAIT makes the descriptor non-blocking for the call. */
#include <errno.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <wasi/api.h>

#include "nonblocking.h"

ssize_t send(int fd, const void *buffer, size_t len, int flags)
{
    __wasi_ciovec_t vector = {.buf = buffer, .buf_len = len};
    __wasi_fdflags_t before = 0;
    __wasi_size_t sent = 0;
    __wasi_errno_t error;
    bool restore = false;
    if ((flags & ~(MSG_NOSIGNAL | MSG_DONTWAIT)) != 0) {
        errno = EOPNOTSUPP;
        return -1;
    }
    if ((flags & MSG_DONTWAIT) != 0)
        restore = refrain_set_nonblocking(fd, &before);
    error = __wasi_sock_send(fd, &vector, 1, 0, &sent);
    if (restore)
        (void)__wasi_fd_fdstat_set_flags(fd, before);
    if (error != 0) {
        errno = error;
        return -1;
    }
    return (ssize_t)sent;
}
