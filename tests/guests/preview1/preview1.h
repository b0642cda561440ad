/* Every function of wasi_snapshot_preview1 as it is imported, and checks that print what came of a call.
 *
 * A program checks one family of functions in a directory that is its first preopen, and ends with 0 when all checks
 * hold. A check that does not hold names its line. */
#ifndef PREVIEW1_H
#define PREVIEW1_H

#include <stdio.h>
#include <string.h>

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long s64;

#define IMPORT(name) __attribute__((import_module("wasi_snapshot_preview1"), import_name(#name))) extern

IMPORT(args_get) u32 w_args_get(void *pointers, void *bytes);
IMPORT(args_sizes_get) u32 w_args_sizes_get(void *count, void *bytes);
IMPORT(environ_get) u32 w_environ_get(void *pointers, void *bytes);
IMPORT(environ_sizes_get) u32 w_environ_sizes_get(void *count, void *bytes);
IMPORT(clock_res_get) u32 w_clock_res_get(u32 clock, void *out);
IMPORT(clock_time_get) u32 w_clock_time_get(u32 clock, u64 precision, void *out);
IMPORT(fd_advise) u32 w_fd_advise(u32 fd, u64 offset, u64 len, u32 advice);
IMPORT(fd_allocate) u32 w_fd_allocate(u32 fd, u64 offset, u64 len);
IMPORT(fd_close) u32 w_fd_close(u32 fd);
IMPORT(fd_datasync) u32 w_fd_datasync(u32 fd);
IMPORT(fd_fdstat_get) u32 w_fd_fdstat_get(u32 fd, void *out);
IMPORT(fd_fdstat_set_flags) u32 w_fd_fdstat_set_flags(u32 fd, u32 flags);
IMPORT(fd_fdstat_set_rights) u32 w_fd_fdstat_set_rights(u32 fd, u64 base, u64 inheriting);
IMPORT(fd_filestat_get) u32 w_fd_filestat_get(u32 fd, void *out);
IMPORT(fd_filestat_set_size) u32 w_fd_filestat_set_size(u32 fd, u64 size);
IMPORT(fd_filestat_set_times) u32 w_fd_filestat_set_times(u32 fd, u64 atime, u64 mtime, u32 flags);
IMPORT(fd_pread) u32 w_fd_pread(u32 fd, const void *vectors, u32 count, u64 offset, void *out);
IMPORT(fd_prestat_get) u32 w_fd_prestat_get(u32 fd, void *out);
IMPORT(fd_prestat_dir_name) u32 w_fd_prestat_dir_name(u32 fd, void *path, u32 len);
IMPORT(fd_pwrite) u32 w_fd_pwrite(u32 fd, const void *vectors, u32 count, u64 offset, void *out);
IMPORT(fd_read) u32 w_fd_read(u32 fd, const void *vectors, u32 count, void *out);
IMPORT(fd_readdir) u32 w_fd_readdir(u32 fd, void *buffer, u32 len, u64 cookie, void *out);
IMPORT(fd_renumber) u32 w_fd_renumber(u32 from, u32 to);
IMPORT(fd_seek) u32 w_fd_seek(u32 fd, s64 by, u32 whence, void *out);
IMPORT(fd_sync) u32 w_fd_sync(u32 fd);
IMPORT(fd_tell) u32 w_fd_tell(u32 fd, void *out);
IMPORT(fd_write) u32 w_fd_write(u32 fd, const void *vectors, u32 count, void *out);
IMPORT(path_create_directory) u32 w_path_create_directory(u32 fd, const char *path, u32 len);
IMPORT(path_filestat_get) u32 w_path_filestat_get(u32 fd, u32 flags, const char *path, u32 len, void *out);
IMPORT(path_filestat_set_times)
u32 w_path_filestat_set_times(u32 fd, u32 flags, const char *path, u32 len, u64 atime, u64 mtime, u32 times);
IMPORT(path_link)
u32 w_path_link(u32 fd, u32 flags, const char *old, u32 old_len, u32 new_fd, const char *path, u32 len);
IMPORT(path_open)
u32 w_path_open(u32 fd, u32 lookup, const char *path, u32 len, u32 oflags, u64 base, u64 inheriting, u32 fdflags,
                void *out);
IMPORT(path_readlink) u32 w_path_readlink(u32 fd, const char *path, u32 len, void *buffer, u32 size, void *out);
IMPORT(path_remove_directory) u32 w_path_remove_directory(u32 fd, const char *path, u32 len);
IMPORT(path_rename) u32 w_path_rename(u32 fd, const char *old, u32 old_len, u32 new_fd, const char *path, u32 len);
IMPORT(path_symlink) u32 w_path_symlink(const char *target, u32 target_len, u32 fd, const char *path, u32 len);
IMPORT(path_unlink_file) u32 w_path_unlink_file(u32 fd, const char *path, u32 len);
IMPORT(poll_oneoff) u32 w_poll_oneoff(const void *in, void *out, u32 count, void *events);
IMPORT(proc_exit) _Noreturn void w_proc_exit(u32 code);
IMPORT(proc_raise) u32 w_proc_raise(u32 signal);
IMPORT(random_get) u32 w_random_get(void *buffer, u32 len);
IMPORT(sched_yield) u32 w_sched_yield(void);
IMPORT(sock_accept) u32 w_sock_accept(u32 fd, u32 flags, void *out);
IMPORT(sock_recv) u32 w_sock_recv(u32 fd, const void *vectors, u32 count, u32 flags, void *out, void *out_flags);
IMPORT(sock_send) u32 w_sock_send(u32 fd, const void *vectors, u32 count, u32 flags, void *out);
IMPORT(sock_shutdown) u32 w_sock_shutdown(u32 fd, u32 how);

enum {
    OK = 0, BADF = 8, EXIST = 20, FAULT = 21, FBIG = 22, ILSEQ = 25, INVAL = 28, ISDIR = 31, LOOP = 32, MFILE = 33,
    NAMETOOLONG = 37, NOENT = 44, NOTDIR = 54, NOTEMPTY = 55, NOTSOCK = 57, NOTSUP = 58, PERM = 63, BUSY = 10,
    SPIPE = 70, NOTCAPABLE = 76,
};

enum { CREAT = 1, DIRECTORY = 2, EXCL = 4, TRUNC = 8 };
enum { APPEND = 1, DSYNC = 2, NONBLOCK = 4, RSYNC = 8, SYNC = 16 };
enum { FOLLOW = 1 };
enum { CHARACTER_DEVICE = 2, TYPE_DIRECTORY = 3, REGULAR_FILE = 4, SYMBOLIC_LINK = 7 };

#define RIGHT(bit) (1ull << (bit))
#define R_DATASYNC RIGHT(0)
#define R_READ RIGHT(1)
#define R_SEEK RIGHT(2)
#define R_SET_FLAGS RIGHT(3)
#define R_SYNC RIGHT(4)
#define R_TELL RIGHT(5)
#define R_WRITE RIGHT(6)
#define R_ADVISE RIGHT(7)
#define R_ALLOCATE RIGHT(8)
#define R_CREATE_DIRECTORY RIGHT(9)
#define R_CREATE_FILE RIGHT(10)
#define R_LINK_SOURCE RIGHT(11)
#define R_LINK_TARGET RIGHT(12)
#define R_OPEN RIGHT(13)
#define R_READDIR RIGHT(14)
#define R_READLINK RIGHT(15)
#define R_RENAME_SOURCE RIGHT(16)
#define R_RENAME_TARGET RIGHT(17)
#define R_PATH_STAT RIGHT(18)
#define R_PATH_SIZE RIGHT(19)
#define R_PATH_TIMES RIGHT(20)
#define R_STAT RIGHT(21)
#define R_SIZE RIGHT(22)
#define R_TIMES RIGHT(23)
#define R_SYMLINK RIGHT(24)
#define R_REMOVE_DIRECTORY RIGHT(25)
#define R_UNLINK RIGHT(26)
#define R_POLL RIGHT(27)
#define R_ALL (RIGHT(30) - 1)
#define RW (R_READ | R_WRITE)

struct vector {
    const void *at;
    u32 len;
};
struct fdstat {
    u8 type;
    u16 flags;
    u64 base, inheriting;
};
struct filestat {
    u64 device, inode;
    u8 type;
    u64 links, size, atime, mtime, ctime;
};
struct prestat {
    u8 kind;
    u32 len;
};
struct entry {
    u64 next, inode;
    u32 name_len;
    u8 type;
};

/* A path as a pointer and a length. */
#define P(text) text, sizeof(text) - 1
/* An address beyond the end of every memory of a test. */
#define NOWHERE ((void *)0xfffffff8u)
#define NO_FD 0x7fffffffu

static int checks, failures;

static inline void check_at(const char *file, int line, const char *what, s64 got, s64 want) {
    checks++;
    if (got != want) {
        failures++;
        printf("FAIL %s:%d: %s is %lld, not %lld\n", file, line, what, got, want);
    }
}

static inline void check_either_at(const char *file, int line, const char *what, s64 got, s64 want, s64 other) {
    check_at(file, line, what, got, got == other ? other : want);
}

/* The base name is enough to find a line. */
#define CHECK(what, want) check_at(__FILE_NAME__, __LINE__, #what, (s64)(what), (s64)(want))
#define CHECK_EITHER(what, want, other) check_either_at(__FILE_NAME__, __LINE__, #what, (s64)(what), (s64)(want), other)

static inline int end_of_checks(const char *name) {
    printf("%s: %d checks, %d failed\n", name, checks, failures);
    return failures == 0 ? 0 : 1;
}

/* The first preopened directory. */
static inline u32 preopen(void) {
    struct prestat stat;
    u32 fd = 3;
    while (w_fd_prestat_get(fd, &stat) != OK || stat.kind != 0) {
        if (++fd == 100) {
            printf("FAIL no directory is preopened\n");
            w_proc_exit(1);
        }
    }
    return fd;
}

/* Opens what must be there. */
static inline u32 must_open(u32 dir, const char *path, u32 oflags, u64 rights, u32 fdflags) {
    u32 fd = NO_FD;
    u32 error = w_path_open(dir, FOLLOW, path, strlen(path), oflags, rights, R_ALL, fdflags, &fd);
    if (error != OK) {
        failures++;
        printf("FAIL %s cannot be opened: %u\n", path, error);
    }
    return fd;
}

/* A fresh empty directory of this name, opened. */
static inline u32 scratch(const char *name) {
    u32 dir = preopen();
    CHECK(w_path_create_directory(dir, name, strlen(name)), OK);
    return must_open(dir, name, DIRECTORY, 0, 0);
}

static inline void put_file(u32 dir, const char *path, const char *text) {
    u32 fd = must_open(dir, path, CREAT | TRUNC, RW, 0), written = 0;
    struct vector vector = {text, strlen(text)};
    CHECK(w_fd_write(fd, &vector, 1, &written), OK);
    CHECK(written, strlen(text));
    CHECK(w_fd_close(fd), OK);
}

#endif
