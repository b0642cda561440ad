/* mkstemp(3), mkdtemp(3) and tmpfile(3). */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MARKS = 6, TRIES = 100 };

/* Where the six marks at the end of a template are, or null. */
static char *marks(char *template)
{
    size_t len = strlen(template);
    if (len >= MARKS && strcmp(template + len - MARKS, "XXXXXX") == 0)
        return template + len - MARKS;
    errno = EINVAL;
    return NULL;
}

static int fill(char *at)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz012345";
    uint8_t bytes[MARKS];
    if (getentropy(bytes, sizeof bytes) != 0)
        return -1;
    for (int i = 0; i < MARKS; i++)
        at[i] = letters[bytes[i] % 32];
    return 0;
}

int mkstemp(char *template)
{
    char *at = marks(template);
    for (int i = 0; at != NULL && i < TRIES && fill(at) == 0; i++) {
        int fd = open(template, O_RDWR | O_CREAT | O_EXCL, 0600);
        if (fd >= 0 || errno != EEXIST)
            return fd;
    }
    return -1;
}

char *mkdtemp(char *template)
{
    char *at = marks(template);
    for (int i = 0; at != NULL && i < TRIES && fill(at) == 0; i++) {
        if (mkdir(template, 0700) == 0)
            return template;
        if (errno != EEXIST)
            return NULL;
    }
    return NULL;
}

FILE *tmpfile(void)
{
    char in_tmp[] = "/tmp/tmpXXXXXX", in_root[] = "/tmpXXXXXX", *path = in_tmp;
    int fd = mkstemp(path);
    FILE *file;
    if (fd < 0)
        fd = mkstemp(path = in_root);
    if (fd < 0)
        return NULL;
    (void)unlink(path);
    file = fdopen(fd, "w+");
    if (file == NULL)
        close(fd);
    return file;
}
