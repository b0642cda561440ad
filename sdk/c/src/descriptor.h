/* What a descriptor is. */
#ifndef REFRAIN_DESCRIPTOR_H
#define REFRAIN_DESCRIPTOR_H

#include <errno.h>
#include <wasi/api.h>

/* Writes SOCK_STREAM or SOCK_DGRAM, which are preview 1's own numbers; returns 0, EBADF or ENOTSOCK. */
static inline int refrain_socket_type(int fd, int *type)
{
    __wasi_fdstat_t stat;
    int error = __wasi_fd_fdstat_get(fd, &stat);
    if (error != 0)
        return error;
    *type = stat.fs_filetype;
    return *type == __WASI_FILETYPE_SOCKET_STREAM || *type == __WASI_FILETYPE_SOCKET_DGRAM ? 0 : ENOTSOCK;
}

#endif
