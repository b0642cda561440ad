/* realpath(3). */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SIZE = 4096, MAX_LINKS = 32 };

/* Puts `with` and a slash in the place of the first `used` bytes of `rest`. */
static int replace(char *rest, const char *with, size_t len, const char *after)
{
    size_t left = strlen(after);
    if (len + 1 + left + 1 > SIZE) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memmove(rest + len + 1, after, left + 1);
    memcpy(rest, with, len);
    rest[len] = '/';
    return 0;
}

/* Walks `rest` from `path`, which is "" for the root. */
static int walk(char *path, char *rest)
{
    int links = 0;
    while (*rest != '\0') {
        size_t len = strcspn(rest, "/"), end = strlen(path);
        char target[SIZE];
        struct stat found;
        ssize_t size;
        if (len == 0 || (len == 1 && rest[0] == '.')) {
            memmove(rest, rest + len + (rest[len] == '/'), strlen(rest + len + (rest[len] == '/')) + 1);
            continue;
        }
        if (len == 2 && rest[0] == '.' && rest[1] == '.') {
            char *slash = strrchr(path, '/');
            if (slash != NULL)
                *slash = '\0';
            memmove(rest, rest + 2, strlen(rest + 2) + 1);
            continue;
        }
        if (end + 1 + len + 1 > SIZE) {
            errno = ENAMETOOLONG;
            return -1;
        }
        path[end] = '/';
        memcpy(path + end + 1, rest, len);
        path[end + 1 + len] = '\0';
        if (lstat(path, &found) != 0)
            return -1;
        if (!S_ISLNK(found.st_mode)) {
            memmove(rest, rest + len, strlen(rest + len) + 1);
            continue;
        }
        size = readlink(path, target, sizeof target);
        if (size < 0 || ++links > MAX_LINKS) {
            errno = size < 0 ? errno : ELOOP;
            return -1;
        }
        path[target[0] == '/' ? 0 : end] = '\0';
        if (replace(rest, target, (size_t)size, rest + len) != 0)
            return -1;
    }
    return 0;
}

char *realpath(const char *restrict name, char *restrict resolved)
{
    char path[SIZE] = "", rest[SIZE];
    if (name == NULL || *name == '\0' || strlen(name) >= SIZE) {
        errno = name == NULL ? EINVAL : *name == '\0' ? ENOENT : ENAMETOOLONG;
        return NULL;
    }
    strcpy(rest, name);
    if (*name != '/') {
        if (getcwd(path, sizeof path) == NULL)
            return NULL;
        if (strcmp(path, "/") == 0)
            *path = '\0';
    }
    if (walk(path, rest) != 0)
        return NULL;
    if (*path == '\0')
        strcpy(path, "/");
    return resolved == NULL ? strdup(path) : strcpy(resolved, path);
}
