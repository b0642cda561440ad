/* Adds to wasi-libc's <fcntl.h> the commands of fcntl that it lacks: locks, which are always granted since a guest is alone
 * with its files, and duplicates, which there are none of. */
#ifndef REFRAIN_FCNTL_H
#define REFRAIN_FCNTL_H

/* Some wasi-libcs have the struct and no command that takes it. */
#define flock refrain_no_flock
#include_next <fcntl.h>
#undef flock

#include <sys/types.h>

#include <refrain/symbol.h>

#ifndef F_DUPFD
#define F_DUPFD 0
#endif
#ifndef F_DUPFD_CLOEXEC
#define F_DUPFD_CLOEXEC 1030
#endif
#ifndef F_SETLK
#define F_GETLK 5
#define F_SETLK 6
#define F_SETLKW 7
#define F_RDLCK 0
#define F_WRLCK 1
#define F_UNLCK 2
#endif

struct flock {
    short l_type;
    short l_whence;
    off_t l_start;
    off_t l_len;
    pid_t l_pid;
};

#ifdef __cplusplus
extern "C" {
#endif

int fcntl(int, int, ...) REFRAIN_SYMBOL(fcntl);

#ifdef __cplusplus
}
#endif

#endif
