/* setsockopt(2). Options that have no meaning under Refrain are taken for any socket: there is no Nagle delay to turn off
 * and no second listener to share with. */
#include <errno.h>
#include <sys/socket.h>

#include "abi.h"
#include "descriptor.h"
#include "options.h"

static int set(int fd, int level, int name, const void *value, socklen_t len)
{
    int type, error = refrain_socket_type(fd, &type);
    if (error != 0)
        return error;
    if (refrain_option_means_nothing(level, name))
        return value == NULL || len < 1 ? EINVAL : 0;
    if (level != SOL_SOCKET || refrain_option(name) < 0)
        return ENOPROTOOPT;
    return refrain_sock_setsockopt(fd, ABI_LEVEL_SOCKET, refrain_option(name), value, len);
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
    int error = set(fd, level, name, value, len);
    if (error != 0) {
        errno = error;
        return -1;
    }
    return 0;
}
