/* The table of descriptors: preopens, renumbering, closing, rights. */
#include "preview1.h"

static void preopens(u32 dir) {
    struct prestat stat;
    char name[64] = {0};
    u32 pre = preopen();
    CHECK(w_fd_prestat_get(pre, &stat), OK);
    CHECK(stat.kind, 0);
    CHECK(stat.len > 0 && stat.len < 63, 1);
    CHECK(w_fd_prestat_dir_name(pre, name, stat.len), OK);
    CHECK(strlen(name), stat.len);
    memset(name, 0, sizeof name);
    CHECK(w_fd_prestat_dir_name(pre, name, sizeof name), OK);
    CHECK(strlen(name), stat.len);
    CHECK(w_fd_prestat_dir_name(pre, name, stat.len - 1), NAMETOOLONG);
    CHECK(w_fd_prestat_dir_name(pre, NOWHERE + 7, stat.len + 100), FAULT);
    CHECK(w_fd_prestat_get(pre, NOWHERE + 4), FAULT);
    CHECK(w_fd_prestat_get(dir, &stat), BADF);
    CHECK(w_fd_prestat_get(0, &stat), BADF);
    CHECK(w_fd_prestat_get(NO_FD, &stat), BADF);
    CHECK(w_fd_prestat_dir_name(dir, name, 64), NOTDIR);
    CHECK(w_fd_prestat_dir_name(1, name, 64), NOTDIR);
    CHECK(w_fd_prestat_dir_name(NO_FD, name, 64), BADF);
}

static void renumbering(u32 dir) {
    u32 one = must_open(dir, "one", CREAT, RW, 0), two = must_open(dir, "two", CREAT, RW, 0);
    struct filestat first, now;
    CHECK(w_fd_filestat_get(one, &first), OK);
    CHECK(w_fd_renumber(one, two), OK);
    CHECK(w_fd_close(one), BADF);
    CHECK(w_fd_filestat_get(two, &now), OK);
    CHECK(now.inode, first.inode);
    CHECK(w_fd_renumber(two, one), BADF);
    CHECK(w_fd_renumber(one, two), BADF);
    CHECK(w_fd_renumber(two, two), OK);
    CHECK(w_fd_renumber(NO_FD, NO_FD), BADF);
    CHECK(w_fd_filestat_get(two, &now), OK);
    /* The lowest free number is given out. */
    CHECK(must_open(dir, "three", CREAT, RW, 0), one);
    CHECK(w_fd_close(one), OK);
    CHECK(w_fd_close(two), OK);
    /* Over a preopen, which is one no more; and a preopen can be closed. */
    u32 pre = preopen();
    struct prestat stat;
    u32 copy = must_open(pre, ".", DIRECTORY, 0, 0), other = must_open(pre, ".", DIRECTORY, 0, 0);
    CHECK(w_fd_renumber(copy, pre), OK);
    CHECK(w_fd_filestat_get(pre, &now), OK);
    CHECK(now.type, TYPE_DIRECTORY);
    CHECK(w_fd_prestat_get(pre, &stat), BADF);
    CHECK(w_fd_close(pre), OK);
    CHECK(w_fd_filestat_get(pre, &now), BADF);
    CHECK(w_fd_filestat_get(other, &now), OK);
    CHECK(w_fd_close(NO_FD), BADF);
}

/* A call that needs a right, on a descriptor that has everything but this one. */
static void dropped(u32 dir, u64 right, u32 (*call)(u32, u32), const char *name) {
    u32 file = must_open(dir, "rights/file", CREAT, RW, 0), at = must_open(dir, "rights", DIRECTORY, 0, 0);
    struct fdstat stat;
    for (int on_directory = 0; on_directory < 2; on_directory++) {
        u32 fd = on_directory ? at : file;
        CHECK(w_fd_fdstat_get(fd, &stat), OK);
        CHECK(w_fd_fdstat_set_rights(fd, stat.base & ~right, stat.inheriting & ~right), OK);
        u64 left = stat.base & ~right;
        CHECK(w_fd_fdstat_get(fd, &stat), OK);
        CHECK(stat.base, left);
    }
    check_at("table.c", __LINE__, name, call(file, at), (right & (R_READ | R_WRITE)) ? BADF : NOTCAPABLE);
    CHECK(w_fd_fdstat_set_rights(at, stat.base | right, stat.inheriting), NOTCAPABLE);
    CHECK(w_fd_fdstat_set_rights(at, stat.base, stat.inheriting | right), NOTCAPABLE);
    CHECK(w_fd_close(file), OK);
    CHECK(w_fd_close(at), OK);
}

static u8 buffer[64];
static struct vector vector = {buffer, 8};
static u32 out[2];

#define CALL(name, what) \
    static u32 name(u32 file, u32 dir) { \
        (void)file, (void)dir; \
        return what; \
    }
CALL(read, w_fd_read(file, &vector, 1, out))
CALL(write, w_fd_write(file, &vector, 1, out))
CALL(pread, w_fd_pread(file, &vector, 1, 0, out))
CALL(pwrite, w_fd_pwrite(file, &vector, 1, 0, out))
CALL(seek, w_fd_seek(file, 0, 0, out))
CALL(tell, w_fd_tell(file, out))
CALL(sync_file, w_fd_sync(file))
CALL(datasync, w_fd_datasync(file))
CALL(set_flags, w_fd_fdstat_set_flags(file, 0))
CALL(advise, w_fd_advise(file, 0, 0, 0))
CALL(allocate, w_fd_allocate(file, 0, 1))
CALL(stat, w_fd_filestat_get(file, buffer))
CALL(set_size, w_fd_filestat_set_size(file, 1))
CALL(set_times, w_fd_filestat_set_times(file, 0, 0, 1))
CALL(readdir, w_fd_readdir(dir, buffer, 64, 0, out))
CALL(create_directory, w_path_create_directory(dir, P("new")))
CALL(create_file, w_path_open(dir, 0, P("new"), CREAT, 0, 0, 0, out))
CALL(open, w_path_open(dir, 0, P("file"), 0, 0, 0, 0, out))
CALL(open_dsync, w_path_open(dir, 0, P("file"), 0, 0, 0, DSYNC, out))
CALL(open_rsync, w_path_open(dir, 0, P("file"), 0, 0, 0, RSYNC, out))
CALL(open_sync, w_path_open(dir, 0, P("file"), 0, 0, 0, SYNC, out))
CALL(truncate, w_path_open(dir, 0, P("file"), TRUNC, 0, 0, 0, out))
CALL(open_read, w_path_open(dir, 0, P("file"), 0, R_READ, 0, 0, out) == NOTCAPABLE ? BADF : OK)
CALL(open_write, w_path_open(dir, 0, P("file"), 0, R_WRITE, 0, 0, out) == NOTCAPABLE ? BADF : OK)
CALL(link_source, w_path_link(dir, 0, P("file"), dir, P("new")))
CALL(symlink, w_path_symlink(P("file"), dir, P("new")))
CALL(readlink, w_path_readlink(dir, P("link"), buffer, 64, out))
CALL(rename_source, w_path_rename(dir, P("file"), dir, P("new")))
CALL(path_stat, w_path_filestat_get(dir, 0, P("file"), buffer))
CALL(path_times, w_path_filestat_set_times(dir, 0, P("file"), 0, 0, 1))
CALL(remove_directory, w_path_remove_directory(dir, P("sub")))
CALL(unlink, w_path_unlink_file(dir, P("file")))

static void rights(u32 dir) {
    static const struct {
        u64 right;
        u32 (*call)(u32, u32);
        const char *name;
    } table[] = {
        {R_READ, read, "fd_read"},
        {R_READ, pread, "fd_pread"},
        {R_SEEK, pread, "fd_pread"},
        {R_WRITE, write, "fd_write"},
        {R_WRITE, pwrite, "fd_pwrite"},
        {R_SEEK, pwrite, "fd_pwrite"},
        {R_SEEK, seek, "fd_seek"},
        {R_SEEK | R_TELL, tell, "fd_tell"},
        {R_SYNC, sync_file, "fd_sync"},
        {R_DATASYNC, datasync, "fd_datasync"},
        {R_SET_FLAGS, set_flags, "fd_fdstat_set_flags"},
        {R_ADVISE, advise, "fd_advise"},
        {R_ALLOCATE, allocate, "fd_allocate"},
        {R_STAT, stat, "fd_filestat_get"},
        {R_SIZE, set_size, "fd_filestat_set_size"},
        {R_TIMES, set_times, "fd_filestat_set_times"},
        {R_READDIR, readdir, "fd_readdir"},
        {R_CREATE_DIRECTORY, create_directory, "path_create_directory"},
        {R_CREATE_FILE, create_file, "path_open creat"},
        {R_OPEN, open, "path_open"},
        {R_SYNC | R_DATASYNC, open_dsync, "path_open dsync"},
        {R_SYNC, open_rsync, "path_open rsync"},
        {R_SYNC, open_sync, "path_open sync"},
        {R_PATH_SIZE, truncate, "path_open trunc"},
        {R_READ, open_read, "path_open for reading"},
        {R_WRITE, open_write, "path_open for writing"},
        {R_LINK_SOURCE, link_source, "path_link from"},
        {R_LINK_TARGET, link_source, "path_link to"},
        {R_SYMLINK, symlink, "path_symlink"},
        {R_READLINK, readlink, "path_readlink"},
        {R_RENAME_SOURCE, rename_source, "path_rename from"},
        {R_RENAME_TARGET, rename_source, "path_rename to"},
        {R_PATH_STAT, path_stat, "path_filestat_get"},
        {R_PATH_TIMES, path_times, "path_filestat_set_times"},
        {R_REMOVE_DIRECTORY, remove_directory, "path_remove_directory"},
        {R_UNLINK, unlink, "path_unlink_file"},
    };
    CHECK(w_path_create_directory(dir, P("rights")), OK);
    CHECK(w_path_create_directory(dir, P("rights/sub")), OK);
    CHECK(w_path_symlink(P("file"), dir, P("rights/link")), OK);
    for (u32 i = 0; i < sizeof table / sizeof *table; i++)
        dropped(dir, table[i].right, table[i].call, table[i].name);
    struct fdstat stat;
    CHECK(w_fd_fdstat_get(dir, &stat), OK);
    CHECK(stat.base & (R_SEEK | R_SIZE | R_WRITE), 0);
    CHECK(w_fd_fdstat_set_rights(dir, stat.base, stat.inheriting), OK);
    CHECK(w_fd_fdstat_set_rights(dir, ~0ull, 0), NOTCAPABLE);
    CHECK(w_fd_fdstat_set_rights(NO_FD, 0, 0), BADF);
    /* What a directory does not give on, nothing that is opened through it has. */
    u32 at = must_open(dir, "rights", DIRECTORY, 0, 0);
    CHECK(w_fd_fdstat_get(at, &stat), OK);
    CHECK(w_fd_fdstat_set_rights(at, stat.base, stat.inheriting & ~(R_SEEK | R_UNLINK)), OK);
    u32 below = must_open(at, ".", DIRECTORY, 0, 0), file = must_open(below, "file", CREAT, RW, 0);
    CHECK(w_path_unlink_file(below, P("file")), NOTCAPABLE);
    CHECK(w_fd_tell(file, out), OK);
    CHECK(w_fd_seek(file, 0, 0, out), NOTCAPABLE);
    /* Who may move the offset may ask for it. */
    u32 seeks = must_open(dir, "rights/file", 0, RW, 0);
    CHECK(w_fd_fdstat_get(seeks, &stat), OK);
    CHECK(w_fd_fdstat_set_rights(seeks, stat.base & ~R_TELL, stat.inheriting), OK);
    CHECK(w_fd_tell(seeks, out), OK);
    CHECK(w_path_unlink_file(at, P("file")), OK);
}

int main(void) {
    u32 dir = scratch("table.test");
    rights(dir);
    preopens(dir);
    renumbering(dir);
    return end_of_checks("table");
}
