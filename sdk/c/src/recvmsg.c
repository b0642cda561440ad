/* recvmsg(2) and recvfrom(2): with the address of whoever sent. Control messages there are none. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "abi.h"
#include "address.h"
#include "datagram.h"
#include "nonblocking.h"

enum { LONG_ADDRESS = 128, FAMILY_BYTES = 2 };

static size_t room(const struct msghdr *message)
{
    size_t sum = 0;
    for (size_t i = 0; i < (size_t)message->msg_iovlen; i++)
        sum += message->msg_iov[i].iov_len;
    return sum;
}

/* Takes the family away from before an address, as the other calls have it. */
static uint32_t unpack(const uint8_t *bytes, struct native_address *out)
{
    uint16_t family;
    memcpy(&family, bytes, FAMILY_BYTES);
    memcpy(out->bytes, bytes + FAMILY_BYTES, sizeof out->bytes);
    return family;
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    uint8_t bytes[LONG_ADDRESS] = {0};
    struct abi_address view = {bytes, sizeof bytes};
    struct vectors vectors = {message->msg_iov, (size_t)message->msg_iovlen, NULL};
    struct native_address native;
    __wasi_fdflags_t before = 0;
    uint32_t received = 0, out_flags = 0, family;
    bool restore = false;
    int error = 0;
    if ((flags & ~(MSG_PEEK | MSG_WAITALL | MSG_DONTWAIT | MSG_NOSIGNAL | MSG_TRUNC)) != 0) {
        errno = EOPNOTSUPP;
        return -1;
    }
    refrain_address_prepare(&native);
    if ((flags & MSG_TRUNC) != 0)
        error = refrain_whole_datagram(fd, &vectors);
    if (error == 0 && (flags & MSG_DONTWAIT) != 0)
        restore = refrain_set_nonblocking(fd, &before);
    if (error == 0)
        error = refrain_sock_recv_from(fd, vectors.at, (uint32_t)vectors.count, &view,
                                       (uint32_t)flags & (MSG_PEEK | MSG_WAITALL), &native.port, &received, &out_flags);
    if (restore)
        (void)__wasi_fd_fdstat_set_flags(fd, before);
    free(vectors.block);
    if (error != 0) {
        errno = error;
        return -1;
    }
    family = unpack(bytes, &native);
    if (message->msg_name != NULL && family != 0)
        refrain_address_write(&native, family, message->msg_name, &message->msg_namelen);
    else
        message->msg_namelen = 0;
    message->msg_controllen = 0;
    message->msg_flags = (out_flags & 1) != 0 || received > room(message) ? MSG_TRUNC : 0;
    return (ssize_t)received;
}

ssize_t recvfrom(int fd, void *restrict buffer, size_t size, int flags, struct sockaddr *restrict address,
                 socklen_t *restrict len)
{
    struct iovec vector = {buffer, size};
    struct msghdr message = {.msg_name = address, .msg_namelen = 0, .msg_iov = &vector, .msg_iovlen = 1};
    ssize_t received;
    if (address != NULL && len != NULL)
        message.msg_namelen = *len;
    else
        message.msg_name = NULL;
    received = recvmsg(fd, &message, flags);
    if (received >= 0 && address != NULL && len != NULL)
        *len = message.msg_namelen;
    return received;
}
