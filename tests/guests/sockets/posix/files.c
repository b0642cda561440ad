/* What files lack here: modes, owners, locks, second descriptors. And what they have: temporary ones, and real paths. */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

static void descriptors(int fd)
{
    int ends[2];
    FAILS(dup(fd), ENOSYS);
    FAILS(dup(NO_FD), EBADF);
    IS(dup2(fd, fd), fd);
    FAILS(dup2(fd, NO_FD), ENOSYS);
    FAILS(dup2(NO_FD, NO_FD), EBADF);
    FAILS(pipe(ends), ENOSYS);
    FAILS(mkfifo("fifo", 0600), ENOSYS);
    IS(flock(fd, LOCK_EX), 0);
    IS(flock(fd, LOCK_UN), 0);
    FAILS(flock(NO_FD, LOCK_EX), EBADF);
    IS(lockf(fd, 1, 0), 0);
    FAILS(lockf(NO_FD, 1, 0), EBADF);
    FAILS_NULL(ttyname(0), ENOTTY);
    sync();
}

static void commands(int fd)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int flags = fcntl(fd, F_GETFL);
    FAILS(fcntl(fd, F_DUPFD, 0), ENOSYS);
    FAILS(fcntl(fd, F_DUPFD_CLOEXEC, 0), ENOSYS);
    FAILS(fcntl(NO_FD, F_DUPFD, 0), EBADF);
    IS(fcntl(fd, F_SETLK, &lock), 0);
    IS(fcntl(fd, F_SETLKW, &lock), 0);
    IS(fcntl(fd, F_GETLK, &lock), 0);
    IS(lock.l_type, F_UNLCK);
    FAILS(fcntl(NO_FD, F_SETLK, &lock), EBADF);
    lock.l_type = 9;
    FAILS(fcntl(fd, F_SETLK, &lock), EINVAL);
    IS(fcntl(fd, F_SETFL, flags | O_APPEND), 0);
    IS(fcntl(fd, F_GETFL) & O_APPEND, O_APPEND);
    IS(fcntl(fd, F_SETFL, flags), 0);
    IS(fcntl(fd, F_GETFL), flags);
    IS(fcntl(fd, F_SETFD, FD_CLOEXEC), 0);
    FAILS(fcntl(fd, 9999), EINVAL);
    FAILS(fcntl(NO_FD, F_GETFL), EBADF);
}

static void modes(int fd)
{
    IS(chmod("file", 0600), 0);
    FAILS(chmod("missing", 0600), ENOENT);
    IS(fchmod(fd, 0600), 0);
    FAILS(fchmod(NO_FD, 0600), EBADF);
    IS(chown("file", 0, 0), 0);
    FAILS(chown("missing", 0, 0), ENOENT);
    IS(fchown(fd, 0, 0), 0);
    FAILS(fchown(NO_FD, 0, 0), EBADF);
    IS(lchown("dangling", 0, 0), 0);
    FAILS(chown("dangling", 0, 0), ENOENT);
    FAILS(lchown("missing", 0, 0), ENOENT);
    IS(umask(077), 022);
    IS(umask(022), 077);
}

static void path_is(const char *path, const char *want)
{
    char into[PATH_MAX], *made = realpath(path, NULL);
    IS(made != NULL && strcmp(made, want) == 0, 1);
    free(made);
    IS(realpath(path, into) == into && strcmp(into, want) == 0, 1);
}

static void real_paths(void)
{
    static char longest[PATH_MAX + 2];
    path_is("file", "/file");
    path_is("/", "/");
    path_is("./folder//../folder/.", "/folder");
    path_is("link/inner", "/folder/inner");
    path_is("../../file", "/file");
    path_is("folder/back", "/file");
    FAILS_NULL(realpath("missing", NULL), ENOENT);
    FAILS_NULL(realpath("", NULL), ENOENT);
    FAILS_NULL(realpath("loop", NULL), ELOOP);
    FAILS_NULL(realpath("dangling", NULL), ENOENT);
    memset(longest, 'a', sizeof longest - 1);
    FAILS_NULL(realpath(longest, NULL), ENAMETOOLONG);
}

void files(void)
{
    int fd = open("file", O_CREAT | O_RDWR, 0600), inner;
    IS(fd >= 0, 1);
    IS(mkdir("folder", 0700), 0);
    inner = open("folder/inner", O_CREAT | O_RDWR, 0600);
    IS(inner >= 0, 1);
    IS(symlink("folder", "link"), 0);
    IS(symlink("../file", "folder/back"), 0);
    IS(symlink("loop", "loop"), 0);
    IS(symlink("nowhere", "dangling"), 0);
    descriptors(fd);
    commands(fd);
    modes(fd);
    real_paths();
    IS(close(inner), 0);
    IS(close(fd), 0);
}

void temporary_files(void)
{
    char name[] = "file.XXXXXX", second[] = "file.XXXXXX", folder[] = "/folder/XXXXXX", bad[] = "file.XXXXX";
    char line[16] = "";
    struct stat found;
    FILE *file;
    int fd = mkstemp(name), other = mkstemp(second);
    IS(fd >= 0 && other >= 0 && strcmp(name, second) != 0, 1);
    IS(stat(name, &found), 0);
    IS(write(fd, "x", 1), 1);
    IS(close(fd), 0);
    IS(close(other), 0);
    FAILS(mkstemp(bad), EINVAL);
    IS(mkdtemp(folder) == folder, 1);
    IS(stat(folder, &found), 0);
    IS(S_ISDIR(found.st_mode), 1);
    FAILS_NULL(mkdtemp(bad), EINVAL);
    strcpy(folder, "/nowhr/XXXXXX");
    FAILS_NULL(mkdtemp(folder), ENOENT);
    file = tmpfile();
    IS(file != NULL, 1);
    if (file == NULL)
        return;
    IS(fputs("kept\n", file) >= 0, 1);
    rewind(file);
    IS(fgets(line, sizeof line, file) == line && strcmp(line, "kept\n") == 0, 1);
    IS(fclose(file), 0);
}
