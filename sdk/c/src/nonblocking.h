/* A call that does not wait on a descriptor that does: the flag is set for its time. */
#ifndef REFRAIN_NONBLOCKING_H
#define REFRAIN_NONBLOCKING_H

#include <stdbool.h>
#include <wasi/api.h>

/* Sets the non-blocking flag where it is not set; true when it has to be taken away again. */
static inline bool refrain_set_nonblocking(int fd, __wasi_fdflags_t *before)
{
    __wasi_fdstat_t stat;
    if (__wasi_fd_fdstat_get(fd, &stat) != 0 || (stat.fs_flags & __WASI_FDFLAGS_NONBLOCK) != 0)
        return false;
    *before = stat.fs_flags;
    return __wasi_fd_fdstat_set_flags(fd, stat.fs_flags | __WASI_FDFLAGS_NONBLOCK) == 0;
}

#endif
