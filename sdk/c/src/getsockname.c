/* getsockname(2). */
#include <errno.h>
#include <sys/socket.h>

#include "abi.h"
#include "address.h"

int getsockname(int fd, struct sockaddr *restrict address, socklen_t *restrict len)
{
    struct native_address native;
    uint32_t type = 0;
    int error;
    refrain_address_prepare(&native);
    error = refrain_sock_getlocaladdr(fd, &native.view, &type, &native.port);
    if (error != 0) {
        errno = error;
        return -1;
    }
    refrain_address_write(&native, type, address, len);
    return 0;
}
