/* What files lack here: modes, owners, locks against others, second descriptors, pipes. Setting a mode or an owner is
 * taken where the file is there, as programs go on only then; what cannot be had fails with ENOSYS. */
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static int no_such_call(void)
{
    errno = ENOSYS;
    return -1;
}

static int there(int fd)
{
    return fcntl(fd, F_GETFL) < 0 ? -1 : 0;
}

int dup(int fd)
{
    return there(fd) < 0 ? -1 : no_such_call();
}

int dup2(int fd, int to)
{
    return there(fd) < 0 ? -1 : fd == to ? fd : no_such_call();
}

int pipe(int fds[2])
{
    (void)fds;
    return no_such_call();
}

int mkfifo(const char *path, mode_t mode)
{
    (void)path, (void)mode;
    return no_such_call();
}

int chmod(const char *path, mode_t mode)
{
    (void)mode;
    return access(path, F_OK);
}

int fchmod(int fd, mode_t mode)
{
    (void)mode;
    return there(fd);
}

mode_t umask(mode_t mode)
{
    static mode_t mask = 022;
    mode_t before = mask;
    mask = mode & 0777;
    return before;
}

int chown(const char *path, uid_t user, gid_t group)
{
    (void)user, (void)group;
    return access(path, F_OK);
}

int lchown(const char *path, uid_t user, gid_t group)
{
    struct stat found;
    (void)user, (void)group;
    return lstat(path, &found);
}

int fchown(int fd, uid_t user, gid_t group)
{
    (void)user, (void)group;
    return there(fd);
}

int flock(int fd, int operation)
{
    (void)operation;
    return there(fd);
}

int lockf(int fd, int command, off_t size)
{
    (void)command, (void)size;
    return there(fd);
}

/* Every write is where it has to be: in the agreed state. */
void sync(void)
{
}

char *ttyname(int fd)
{
    (void)fd;
    errno = ENOTTY;
    return NULL;
}
