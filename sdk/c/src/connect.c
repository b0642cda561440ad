/* connect(2). */
#include <errno.h>
#include <sys/socket.h>

#include "abi.h"
#include "address.h"

int connect(int fd, const struct sockaddr *address, socklen_t len)
{
    struct native_address native;
    int error = refrain_address_read(address, len, &native);
    if (error == 0)
        error = refrain_sock_connect(fd, &native.view, native.port);
    if (error != 0) {
        errno = error;
        return -1;
    }
    return 0;
}
