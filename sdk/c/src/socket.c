/* socket(2): TCP and UDP over IPv4 and IPv6. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "abi.h"

int socket(int domain, int type, int protocol)
{
    int flags = type & (SOCK_NONBLOCK | SOCK_CLOEXEC);
    int family, kind, error;
    uint32_t fd = 0;
    type &= ~flags;
    if (domain == AF_INET) {
        family = ABI_INET4;
    } else if (domain == AF_INET6) {
        family = ABI_INET6;
    } else {
        errno = EAFNOSUPPORT;
        return -1;
    }
    if (type == SOCK_STREAM && (protocol == 0 || protocol == IPPROTO_TCP)) {
        kind = ABI_STREAM;
    } else if (type == SOCK_DGRAM && (protocol == 0 || protocol == IPPROTO_UDP)) {
        kind = ABI_DATAGRAM;
    } else {
        errno = EPROTONOSUPPORT;
        return -1;
    }
    error = refrain_sock_open(family, kind, &fd);
    if (error != 0) {
        errno = error;
        return -1;
    }
    if ((flags & SOCK_NONBLOCK) != 0 && fcntl((int)fd, F_SETFL, O_NONBLOCK) != 0) {
        error = errno;
        close((int)fd);
        errno = error;
        return -1;
    }
    return (int)fd;
}
