/* What is done with open files: reading, writing, offsets, sizes, times, flags. */
#include "preview1.h"

static u32 transfer(u32 (*call)(u32, const void *, u32, void *), u32 fd, const void *at, u32 len, u32 *done) {
    struct vector vector = {at, len};
    return call(fd, &vector, 1, done);
}

static u64 size_of(u32 fd) {
    struct filestat stat = {0};
    CHECK(w_fd_filestat_get(fd, &stat), OK);
    return stat.size;
}

static u64 told(u32 fd) {
    u64 at = ~0ull;
    CHECK(w_fd_tell(fd, &at), OK);
    return at;
}

static void transfers(u32 dir) {
    u32 fd = must_open(dir, "transfers", CREAT, RW, 0), done = 0;
    u64 at = 0;
    char buffer[32] = {0};
    struct vector two[3] = {{"abc", 3}, {"", 0}, {"defgh", 5}};
    CHECK(w_fd_write(fd, two, 3, &done), OK);
    CHECK(done, 8);
    CHECK(told(fd), 8);
    struct vector into[2] = {{buffer, 3}, {buffer + 10, 20}};
    CHECK(w_fd_seek(fd, 0, 0, &at), OK);
    CHECK(w_fd_read(fd, into, 2, &done), OK);
    CHECK(done, 8);
    CHECK(memcmp(buffer, "abc", 4), 0);
    CHECK(memcmp(buffer + 10, "defgh", 6), 0);
    CHECK(w_fd_read(fd, into, 2, &done), OK);
    CHECK(done, 0);
    CHECK(w_fd_read(fd, into, 0, &done), OK);
    CHECK(done, 0);
    memset(buffer, 0, sizeof buffer);
    CHECK(w_fd_pread(fd, into, 2, 2, &done), OK);
    CHECK(done, 6);
    CHECK(memcmp(buffer, "cde", 4), 0);
    CHECK(memcmp(buffer + 10, "fgh", 4), 0);
    CHECK(w_fd_pread(fd, into, 2, 8, &done), OK);
    CHECK(done, 0);
    CHECK(w_fd_pread(fd, into, 2, 1ull << 62, &done), OK);
    CHECK(done, 0);
    CHECK(w_fd_pread(fd, into, 2, ~0ull, &done), INVAL);
    CHECK(told(fd), 8);
    struct vector write[2] = {{"XY", 2}, {"Z", 1}};
    CHECK(w_fd_pwrite(fd, write, 2, 10, &done), OK);
    CHECK(done, 3);
    CHECK(told(fd), 8);
    CHECK(size_of(fd), 13);
    CHECK(w_fd_pread(fd, into, 2, 7, &done), OK);
    CHECK(memcmp(buffer, "h\0\0", 3), 0);
    CHECK(w_fd_pwrite(fd, write, 2, ~0ull, &done), INVAL);
    CHECK_EITHER(w_fd_pwrite(fd, write, 2, (1ull << 63) - 1, &done), FBIG, INVAL);
    /* Vectors that leave the memory, that are not there, too many of them, and too much in all. */
    struct vector bad[2] = {{buffer, 4}, {NOWHERE, 16}};
    CHECK(w_fd_read(fd, bad, 2, &done), FAULT);
    CHECK(w_fd_write(fd, bad, 2, &done), FAULT);
    CHECK(w_fd_pread(fd, bad, 2, 0, &done), FAULT);
    CHECK(w_fd_pwrite(fd, bad, 2, 0, &done), FAULT);
    CHECK(w_fd_read(fd, NOWHERE, 2, &done), FAULT);
    CHECK(w_fd_read(fd, NOWHERE, ~0u, &done), INVAL);
    CHECK(w_fd_write(fd, write, 2, NOWHERE + 6), FAULT);
    CHECK(size_of(fd), 13);
    CHECK(w_fd_close(fd), OK);
    CHECK(transfer(w_fd_read, fd, buffer, 1, &done), BADF);
    CHECK(transfer(w_fd_write, fd, buffer, 1, &done), BADF);
    CHECK(w_fd_pread(fd, into, 1, 0, &done), BADF);
    CHECK(w_fd_pwrite(fd, into, 1, 0, &done), BADF);
    fd = must_open(dir, "transfers", 0, R_READ, 0);
    CHECK(transfer(w_fd_write, fd, buffer, 1, &done), BADF);
    CHECK(w_fd_pwrite(fd, write, 1, 0, &done), BADF);
    CHECK_EITHER(w_fd_allocate(fd, 0, 100), BADF, NOTCAPABLE);
    CHECK_EITHER(w_fd_filestat_set_size(fd, 1), BADF, NOTCAPABLE);
    CHECK(transfer(w_fd_read, fd, buffer, 1, &done), OK);
    CHECK(w_fd_close(fd), OK);
    fd = must_open(dir, "transfers", 0, R_WRITE, 0);
    CHECK(transfer(w_fd_read, fd, buffer, 1, &done), BADF);
    CHECK(w_fd_pread(fd, into, 1, 0, &done), BADF);
    CHECK(transfer(w_fd_write, fd, "q", 1, &done), OK);
    CHECK(w_fd_close(fd), OK);
    fd = must_open(dir, "transfers", 0, 0, 0);
    CHECK(transfer(w_fd_read, fd, buffer, 1, &done), BADF);
    CHECK(transfer(w_fd_write, fd, buffer, 1, &done), BADF);
    CHECK(w_fd_close(fd), OK);
}

static void offsets(u32 dir) {
    u32 fd = must_open(dir, "offsets", CREAT, RW, 0), done = 0;
    u64 at = 0;
    CHECK(transfer(w_fd_write, fd, "0123456789", 10, &done), OK);
    static const struct {
        s64 by;
        u32 whence, error;
        u64 at;
    } seeks[] = {
        {0, 0, OK, 0},      {5, 1, OK, 5},   {-3, 1, OK, 2},         {-2, 2, OK, 8},
        {1000, 2, OK, 1010}, {-1011, 1, INVAL, 1010}, {-1, 0, INVAL, 1010}, {0, 3, INVAL, 1010},
        {0, ~0u, INVAL, 1010}, {0, 1, OK, 1010}, {0x7fffffffffffffff, 0, OK, 0x7fffffffffffffff},
        {1, 1, INVAL, 0x7fffffffffffffff}, {4, 0, OK, 4},
    };
    for (u32 i = 0; i < sizeof seeks / sizeof *seeks; i++) {
        CHECK(w_fd_seek(fd, seeks[i].by, seeks[i].whence, &at), seeks[i].error);
        CHECK(told(fd), seeks[i].at);
    }
    CHECK(w_fd_seek(fd, 1, 1, NOWHERE), FAULT);
    CHECK(told(fd), 4);
    CHECK(w_fd_tell(fd, NOWHERE), FAULT);
    CHECK(w_fd_seek(0, 0, 0, &at), SPIPE);
    CHECK(w_fd_seek(1, 0, 1, &at), SPIPE);
    CHECK(w_fd_tell(2, &at), SPIPE);
    CHECK(w_fd_seek(dir, 0, 1, &at), ISDIR);
    CHECK(w_fd_tell(dir, &at), ISDIR);
    CHECK(w_fd_seek(NO_FD, 0, 0, &at), BADF);
    CHECK(w_fd_tell(NO_FD, &at), BADF);
    CHECK(w_fd_close(fd), OK);
}

static void sizes(u32 dir) {
    u32 fd = must_open(dir, "sizes", CREAT, RW, 0), done = 0;
    char buffer[8] = {0};
    CHECK(w_fd_allocate(fd, 0, 100), OK);
    CHECK(size_of(fd), 100);
    CHECK(w_fd_allocate(fd, 10, 10), OK);
    CHECK(size_of(fd), 100);
    CHECK(w_fd_allocate(fd, 90, 20), OK);
    CHECK(size_of(fd), 110);
    CHECK(w_fd_allocate(fd, 0, 0), INVAL);
    CHECK(w_fd_allocate(fd, ~0ull, 1), INVAL);
    CHECK(w_fd_allocate(fd, 1ull << 62, 1ull << 62), FBIG);
    CHECK(size_of(fd), 110);
    CHECK(w_fd_filestat_set_size(fd, 3), OK);
    CHECK(size_of(fd), 3);
    CHECK(w_fd_filestat_set_size(fd, 1000), OK);
    CHECK(transfer(w_fd_read, fd, buffer, 8, &done), OK);
    CHECK(done, 8);
    CHECK(w_fd_filestat_set_size(fd, 0), OK);
    CHECK(w_fd_filestat_set_size(fd, ~0ull), INVAL);
    for (u32 advice = 0; advice <= 5; advice++)
        CHECK(w_fd_advise(fd, 10, 50, advice), OK);
    CHECK(w_fd_advise(fd, 0, 0, 6), INVAL);
    CHECK(w_fd_advise(fd, ~0ull, 1, 0), INVAL);
    CHECK(w_fd_advise(fd, 0, ~0ull, 0), INVAL);
    CHECK(size_of(fd), 0);
    CHECK(w_fd_sync(fd), OK);
    CHECK(w_fd_datasync(fd), OK);
    CHECK(w_fd_sync(dir), OK);
    CHECK(w_fd_datasync(dir), OK);
    CHECK(w_fd_close(fd), OK);
    CHECK(w_fd_close(fd), BADF);
    CHECK(w_fd_allocate(fd, 0, 1), BADF);
    CHECK(w_fd_filestat_set_size(fd, 0), BADF);
    CHECK(w_fd_advise(fd, 0, 0, 0), BADF);
    CHECK(w_fd_sync(fd), BADF);
    CHECK(w_fd_datasync(fd), BADF);
    CHECK(w_fd_allocate(dir, 0, 1), ISDIR);
    CHECK(w_fd_filestat_set_size(dir, 0), ISDIR);
    CHECK(w_fd_allocate(1, 0, 1), SPIPE);
    CHECK(w_fd_advise(1, 0, 0, 0), SPIPE);
    CHECK(w_fd_filestat_set_size(1, 0), INVAL);
}

static void times(u32 dir) {
    u32 fd = must_open(dir, "times", CREAT, RW, 0);
    struct filestat before, after;
    CHECK(w_fd_filestat_get(fd, &before), OK);
    CHECK(before.type, REGULAR_FILE);
    CHECK(before.links, 1);
    CHECK(w_fd_filestat_set_times(fd, 1000, 2000, 0), OK);
    CHECK(w_fd_filestat_get(fd, &after), OK);
    CHECK(after.mtime == before.mtime && after.atime == before.atime, 1);
    CHECK(w_fd_filestat_set_times(fd, 1000, 2000, 4), OK);
    CHECK(w_fd_filestat_get(fd, &after), OK);
    CHECK(after.mtime, 2000);
    CHECK(after.atime, before.atime);
    CHECK(w_fd_filestat_set_times(fd, 1000, 3000, 1), OK);
    CHECK(w_fd_filestat_get(fd, &after), OK);
    CHECK(after.mtime, 2000);
    CHECK(after.atime, 1000);
    CHECK(w_fd_filestat_set_times(fd, 0, 0, 2 | 8), OK);
    CHECK(w_fd_filestat_get(fd, &after), OK);
    CHECK(after.mtime >= before.mtime && after.atime >= before.atime, 1);
    CHECK(after.ctime >= before.ctime, 1);
    CHECK(w_fd_filestat_set_times(fd, 1, 1, 1 | 2), INVAL);
    CHECK(w_fd_filestat_set_times(fd, 1, 1, 4 | 8), INVAL);
    CHECK(w_fd_filestat_set_times(fd, 1, 1, 16), INVAL);
    CHECK(w_fd_filestat_set_times(fd, 1, 1, ~0u), INVAL);
    CHECK(w_fd_filestat_set_times(dir, 5, 6, 1 | 4), OK);
    CHECK(w_fd_filestat_get(dir, &after), OK);
    CHECK(after.atime == 5 && after.mtime == 6 && after.type == TYPE_DIRECTORY, 1);
    CHECK(w_fd_filestat_get(fd, NOWHERE), FAULT);
    CHECK(w_fd_filestat_get(NO_FD, &after), BADF);
    CHECK(w_fd_filestat_set_times(NO_FD, 0, 0, 0), BADF);
    CHECK(w_fd_filestat_set_times(1, 0, 0, 1), INVAL);
    CHECK(w_fd_filestat_get(1, &after), OK);
    CHECK(w_fd_close(fd), OK);
}

static void flags(u32 dir) {
    u32 fd = must_open(dir, "flags", CREAT, RW, APPEND | SYNC), done = 0;
    struct fdstat stat;
    u64 at = 0;
    CHECK(w_fd_fdstat_get(fd, &stat), OK);
    CHECK(stat.flags, APPEND | SYNC);
    CHECK(stat.type, REGULAR_FILE);
    CHECK(transfer(w_fd_write, fd, "one", 3, &done), OK);
    CHECK(w_fd_seek(fd, 0, 0, &at), OK);
    CHECK(transfer(w_fd_write, fd, "two", 3, &done), OK);
    CHECK(told(fd), 6);
    CHECK(w_fd_fdstat_set_flags(fd, DSYNC | RSYNC | NONBLOCK), OK);
    CHECK(w_fd_fdstat_get(fd, &stat), OK);
    CHECK(stat.flags, DSYNC | RSYNC | NONBLOCK);
    CHECK(w_fd_seek(fd, 0, 0, &at), OK);
    CHECK(transfer(w_fd_write, fd, "TH", 2, &done), OK);
    CHECK(told(fd), 2);
    CHECK(size_of(fd), 6);
    CHECK(w_fd_fdstat_set_flags(fd, 32), INVAL);
    CHECK(w_fd_fdstat_set_flags(fd, 0x10000), INVAL);
    CHECK(w_fd_fdstat_set_flags(NO_FD, 0), BADF);
    CHECK(w_fd_fdstat_get(NO_FD, &stat), BADF);
    CHECK(w_fd_fdstat_get(fd, NOWHERE), FAULT);
    CHECK(w_fd_close(fd), OK);
    for (u32 stream = 0; stream < 3; stream++) {
        CHECK(w_fd_fdstat_get(stream, &stat), OK);
        CHECK_EITHER(stat.type, CHARACTER_DEVICE, 0);
        CHECK(stat.base & (R_SEEK | R_TELL), 0);
    }
    CHECK(transfer(w_fd_write, 0, "x", 1, &done), BADF);
    CHECK(transfer(w_fd_read, 1, &at, 1, &done), BADF);
    CHECK(transfer(w_fd_read, dir, &at, 1, &done), ISDIR);
    CHECK(transfer(w_fd_write, dir, &at, 1, &done), ISDIR);
}

int main(void) {
    u32 dir = scratch("files.test");
    transfers(dir);
    offsets(dir);
    sizes(dir);
    times(dir);
    flags(dir);
    return end_of_checks("files");
}
