/* The folder of images. See store.h. */
#define _GNU_SOURCE /* O_NOFOLLOW, O_CLOEXEC */
#include "store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "text.h"

#define UPLOAD_PREFIX ".upload-"

static int folder_fd = -1;
static size_t file_count;
static unsigned version;
static unsigned next_serial;

static void upload_name(unsigned serial, char name[32])
{
    struct text text = {name, 0, 31, false};
    add(&text, UPLOAD_PREFIX);
    add_number(&text, serial);
    name[text.len] = '\0';
}

static _Noreturn void fail(const char *what, const char *folder)
{
    fprintf(stderr, "image-server: cannot %s %s: %s\n", what, folder, strerror(errno));
    exit(1);
}

/* A stream over the folder of its own, because closedir closes the descriptor. */
static DIR *folder_stream(void)
{
    int fd = openat(folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = fd < 0 ? NULL : fdopendir(fd);
    if (stream == NULL && fd >= 0)
        close(fd);
    return stream;
}

void store_open(const char *folder)
{
    DIR *stream;
    struct dirent *entry;
    if (mkdir(folder, 0755) != 0 && errno != EEXIST)
        fail("create", folder);
    folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder_fd < 0 || (stream = folder_stream()) == NULL)
        fail("open", folder);
    while ((entry = readdir(stream)) != NULL) {
        if (strncmp(entry->d_name, UPLOAD_PREFIX, sizeof UPLOAD_PREFIX - 1) == 0)
            unlinkat(folder_fd, entry->d_name, 0);
        else if (entry->d_name[0] != '.')
            file_count++;
    }
    closedir(stream);
}

int store_read(const char *name, uint64_t *size)
{
    struct stat stat;
    int fd = openat(folder_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -1;
    if (fstat(fd, &stat) != 0 || !S_ISREG(stat.st_mode)) {
        close(fd);
        errno = ENOENT;
        return -1;
    }
    *size = (uint64_t)stat.st_size;
    return fd;
}

static bool exists(const char *name)
{
    struct stat stat;
    return fstatat(folder_fd, name, &stat, AT_SYMLINK_NOFOLLOW) == 0;
}

int upload_begin(struct upload *upload, const char *name)
{
    char temporary[32];
    if (file_count >= MAX_FILES && !exists(name))
        return ENOSPC;
    upload->serial = next_serial++;
    upload_name(upload->serial, temporary);
    upload->fd = openat(folder_fd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
    return upload->fd < 0 ? errno : 0;
}

int upload_write(struct upload *upload, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t written = write(upload->fd, bytes, len);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return written == 0 ? ENOSPC : errno;
        bytes += written;
        len -= (size_t)written;
    }
    return 0;
}

int upload_commit(struct upload *upload, const char *name, bool *created)
{
    char temporary[32];
    int error = close(upload->fd) == 0 ? 0 : errno;
    *created = !exists(name);
    upload_name(upload->serial, temporary);
    if (error == 0 && *created && file_count >= MAX_FILES)
        error = ENOSPC;
    if (error == 0 && renameat(folder_fd, temporary, folder_fd, name) != 0)
        error = errno;
    if (error != 0) {
        unlinkat(folder_fd, temporary, 0);
        return error;
    }
    file_count += *created ? 1 : 0;
    version++;
    return 0;
}

void upload_abort(struct upload *upload)
{
    char temporary[32];
    close(upload->fd);
    upload_name(upload->serial, temporary);
    unlinkat(folder_fd, temporary, 0);
}

int store_remove(const char *name)
{
    if (unlinkat(folder_fd, name, 0) != 0)
        return errno;
    file_count -= file_count > 0 ? 1 : 0;
    version++;
    return 0;
}

static int by_name(const void *left, const void *right)
{
    return strcmp(((const struct entry *)left)->name, ((const struct entry *)right)->name);
}

static bool list_one(struct listing *out, size_t *capacity, const char *name)
{
    struct stat stat;
    if (name[0] == '.' || fstatat(folder_fd, name, &stat, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(stat.st_mode))
        return true;
    if (out->count == *capacity) {
        size_t grown = *capacity == 0 ? 64 : *capacity * 2;
        struct entry *entries = realloc(out->entries, grown * sizeof *entries);
        if (entries == NULL)
            return false;
        out->entries = entries;
        *capacity = grown;
    }
    out->entries[out->count] = (struct entry){strdup(name), (uint64_t)stat.st_size};
    if (out->entries[out->count].name == NULL)
        return false;
    out->count++;
    return true;
}

bool store_list(struct listing *out)
{
    size_t capacity = 0;
    bool complete = true;
    struct dirent *entry;
    DIR *stream = folder_stream();
    *out = (struct listing){NULL, 0};
    if (stream == NULL)
        return false;
    while (complete && (entry = readdir(stream)) != NULL)
        complete = list_one(out, &capacity, entry->d_name);
    closedir(stream);
    if (!complete) {
        listing_free(out);
        return false;
    }
    if (out->count > 1)
        qsort(out->entries, out->count, sizeof *out->entries, by_name);
    return true;
}

void listing_free(struct listing *listing)
{
    for (size_t i = 0; i < listing->count; i++)
        free(listing->entries[i].name);
    free(listing->entries);
    *listing = (struct listing){NULL, 0};
}

unsigned store_version(void)
{
    return version;
}
