/* sendmsg(2) and sendto(2). Without an address they are send(2) for several buffers. */
#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <wasi/api.h>

#include "abi.h"
#include "address.h"
#include "nonblocking.h"

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    struct native_address native;
    __wasi_fdflags_t before = 0;
    __wasi_size_t told = 0;
    uint32_t sent = 0;
    bool restore = false;
    int error = 0;
    if ((flags & ~(MSG_NOSIGNAL | MSG_DONTWAIT)) != 0 || message->msg_controllen != 0) {
        errno = EOPNOTSUPP;
        return -1;
    }
    if (message->msg_name != NULL)
        error = refrain_address_read(message->msg_name, message->msg_namelen, &native);
    if ((flags & MSG_DONTWAIT) != 0)
        restore = refrain_set_nonblocking(fd, &before);
    if (error == 0 && message->msg_name != NULL)
        error = refrain_sock_send_to(fd, message->msg_iov, (uint32_t)message->msg_iovlen, &native.view, native.port, 0,
                                     &sent);
    else if (error == 0)
        error = __wasi_sock_send(fd, (const __wasi_ciovec_t *)message->msg_iov, (size_t)message->msg_iovlen, 0, &told);
    if (restore)
        (void)__wasi_fd_fdstat_set_flags(fd, before);
    if (error != 0) {
        errno = error;
        return -1;
    }
    return message->msg_name != NULL ? (ssize_t)sent : (ssize_t)told;
}

ssize_t sendto(int fd, const void *buffer, size_t size, int flags, const struct sockaddr *address, socklen_t len)
{
    struct iovec vector = {(void *)buffer, size};
    struct msghdr message = {
        .msg_name = (void *)address, .msg_namelen = len, .msg_iov = &vector, .msg_iovlen = 1};
    return sendmsg(fd, &message, flags);
}
