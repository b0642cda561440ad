/* accept(2) and accept4(2) over preview 1's sock_accept with three parameters. Unlike wasi-libc's own they fill in
 * the peer's address. */
#include <errno.h>
#include <stddef.h>
#include <sys/socket.h>
#include <wasi/api.h>

int accept4(int listener, struct sockaddr *restrict address, socklen_t *restrict len, int flags)
{
    __wasi_fd_t fd = 0;
    __wasi_fdflags_t fdflags = 0;
    __wasi_errno_t error;
    if ((flags & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) != 0) {
        errno = EINVAL;
        return -1;
    }
    if ((flags & SOCK_NONBLOCK) != 0)
        fdflags |= __WASI_FDFLAGS_NONBLOCK;
    error = __wasi_sock_accept(listener, fdflags, &fd);
    if (error != 0) {
        errno = error;
        return -1;
    }
    /* A peer that is gone already has no address; the connection is still the caller's, who learns it by reading. */
    if (address != NULL && len != NULL && getpeername((int)fd, address, len) != 0)
        *len = 0;
    return (int)fd;
}

int accept(int listener, struct sockaddr *restrict address, socklen_t *restrict len)
{
    return accept4(listener, address, len, 0);
}
