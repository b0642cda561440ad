/* fcntl: locks and duplicates here, everything else by wasi-libc. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <unistd.h>

int wasi_libc_fcntl(int fd, int command, ...) __asm__("fcntl");

static int lock(int fd, int command, struct flock *lock)
{
    /* wasi-libc looks at no descriptor for this command. */
    if (wasi_libc_fcntl(fd, F_GETFL) < 0)
        return -1;
    if (lock->l_type != F_RDLCK && lock->l_type != F_WRLCK && lock->l_type != F_UNLCK) {
        errno = EINVAL;
        return -1;
    }
    if (command == F_GETLK)
        lock->l_type = F_UNLCK;
    return 0;
}

int fcntl(int fd, int command, ...)
{
    va_list arguments;
    int result;
    va_start(arguments, command);
    switch (command) {
    case F_GETLK:
    case F_SETLK:
    case F_SETLKW:
        result = lock(fd, command, va_arg(arguments, struct flock *));
        break;
    case F_DUPFD:
    case F_DUPFD_CLOEXEC:
        result = dup(fd);
        break;
    case F_SETFD:
    case F_SETFL:
        result = wasi_libc_fcntl(fd, command, va_arg(arguments, int));
        break;
    default:
        result = wasi_libc_fcntl(fd, command);
    }
    va_end(arguments);
    return result;
}
