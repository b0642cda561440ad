/* getsockopt(2). SO_TYPE is answered from the descriptor, in wasi-libc's numbers. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <wasi/api.h>

#include "abi.h"
#include "options.h"

static int socket_type(int fd, void *restrict value, socklen_t *restrict len)
{
    __wasi_fdstat_t stat;
    int type;
    int error = __wasi_fd_fdstat_get(fd, &stat);
    if (error != 0)
        return error;
    if (stat.fs_filetype != __WASI_FILETYPE_SOCKET_STREAM && stat.fs_filetype != __WASI_FILETYPE_SOCKET_DGRAM)
        return ENOTSOCK;
    type = stat.fs_filetype;
    memcpy(value, &type, *len < sizeof type ? *len : sizeof type);
    *len = sizeof type;
    return 0;
}

int getsockopt(int fd, int level, int name, void *restrict value, socklen_t *restrict len)
{
    int error = ENOPROTOOPT;
    if (level == SOL_SOCKET && name == SO_TYPE) {
        error = socket_type(fd, value, len);
    } else if (level == SOL_SOCKET && refrain_option(name) >= 0) {
        uint32_t size = *len;
        error = refrain_sock_getsockopt(fd, ABI_LEVEL_SOCKET, refrain_option(name), value, &size);
        if (error == 0)
            *len = size;
    }
    if (error != 0) {
        errno = error;
        return -1;
    }
    return 0;
}
