/* getsockopt(2). SO_TYPE is answered from the descriptor, in wasi-libc's numbers; of options that have no meaning here
 * TCP_NODELAY is 1, as nothing is held back, and the others are 0. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "abi.h"
#include "descriptor.h"
#include "options.h"

static void put(int found, void *restrict value, socklen_t *restrict len)
{
    if (*len > sizeof found)
        *len = sizeof found;
    memcpy(value, &found, *len);
}

static int get(int fd, int level, int name, void *restrict value, socklen_t *restrict len)
{
    uint32_t size = *len;
    int type, error = refrain_socket_type(fd, &type);
    if (error != 0)
        return error;
    if (level == SOL_SOCKET && name == SO_TYPE) {
        put(type, value, len);
        return 0;
    }
    if (refrain_option_means_nothing(level, name)) {
        put(level == IPPROTO_TCP && name == TCP_NODELAY, value, len);
        return 0;
    }
    if (level != SOL_SOCKET || refrain_option(name) < 0)
        return ENOPROTOOPT;
    error = refrain_sock_getsockopt(fd, ABI_LEVEL_SOCKET, refrain_option(name), value, &size);
    if (error == 0)
        *len = size;
    return error;
}

int getsockopt(int fd, int level, int name, void *restrict value, socklen_t *restrict len)
{
    int error = get(fd, level, name, value, len);
    if (error != 0) {
        errno = error;
        return -1;
    }
    return 0;
}
