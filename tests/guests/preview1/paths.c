/* Paths: opening, links, renaming, removing, attributes. */
#include "preview1.h"

static u32 dir;

static u32 opens(const char *path, u32 lookup, u32 oflags, u64 rights) {
    u32 fd = NO_FD, error = w_path_open(dir, lookup, path, strlen(path), oflags, rights, 0, 0, &fd);
    if (error == OK)
        CHECK(w_fd_close(fd), OK);
    return error;
}

static struct filestat stat_of(const char *path, u32 lookup) {
    struct filestat stat = {0};
    check_at("paths.c", __LINE__, path, w_path_filestat_get(dir, lookup, path, strlen(path), &stat), OK);
    return stat;
}

static void opening(void) {
    static const struct {
        const char *path;
        u32 lookup, oflags;
        u64 rights;
        u32 error;
    } table[] = {
        {"new", 0, 0, 0, NOENT},
        {"new", 0, DIRECTORY, 0, NOENT},
        {"new", 0, TRUNC, R_WRITE, NOENT},
        {"new/", 0, CREAT, 0, ISDIR},
        {"new", 0, CREAT | DIRECTORY, 0, INVAL},
        {"new", 0, CREAT | EXCL, RW, OK},
        {"new", 0, CREAT | EXCL, RW, EXIST},
        {"new", 0, CREAT, 0, OK},
        {"new", 0, CREAT | TRUNC, RW, OK},
        {"new", 0, DIRECTORY, 0, NOTDIR},
        {"new/", 0, 0, 0, NOTDIR},
        {"new///", 0, 0, 0, NOTDIR},
        {"new/below", 0, 0, 0, NOTDIR},
        {"new/below", 0, CREAT, 0, NOTDIR},
        {"none/below", 0, CREAT, 0, NOENT},
        {"new", 0, 16, 0, INVAL},
        {"new", 2, 0, 0, INVAL},
        {"", 0, 0, 0, NOENT},
        {".", 0, 0, 0, OK},
        {".", 0, DIRECTORY, R_READ, OK},
        {".", 0, DIRECTORY, RW, ISDIR},
        {".", 0, CREAT, 0, ISDIR},
        {".", 0, CREAT | EXCL, 0, EXIST},
        {"sub", 0, 0, R_READ, OK},
        {"sub", 0, 0, R_WRITE, ISDIR},
        {"sub", 0, TRUNC, 0, ISDIR},
        {"sub/", 0, DIRECTORY, 0, OK},
        {"sub///./..//sub/.", 0, 0, 0, OK},
        {"to-file", 0, 0, R_READ, LOOP},
        {"to-file", 0, DIRECTORY, 0, LOOP},
        {"to-file", FOLLOW, 0, R_READ, OK},
        {"to-file", FOLLOW, DIRECTORY, 0, NOTDIR},
        {"to-file/", 0, 0, 0, NOTDIR},
        {"to-file", FOLLOW, CREAT | EXCL, 0, EXIST},
        {"to-sub", 0, DIRECTORY, 0, LOOP},
        {"to-sub", FOLLOW, DIRECTORY, 0, OK},
        {"to-sub/", 0, DIRECTORY, 0, OK},
        {"to-sub/inner", 0, CREAT, RW, OK},
        {"dangling", 0, 0, 0, LOOP},
        {"dangling", 0, DIRECTORY, 0, LOOP},
        {"dangling", FOLLOW, 0, 0, NOENT},
        {"dangling", 0, CREAT | EXCL, 0, EXIST},
        {"loop", 0, 0, 0, LOOP},
        {"loop", FOLLOW, 0, 0, LOOP},
        {"loop/x", 0, 0, 0, LOOP},
        {"to-dots/sub/inner", 0, 0, 0, OK},
        {"gr\xc3\xbc\xc3\x9f", 0, CREAT, 0, OK},
        {"gr\xc3\xbc\xc3\x9f", 0, 0, 0, OK},
        {"gr\xfc", 0, CREAT, 0, ILSEQ},
    };
    put_file(dir, "file", "abc");
    CHECK(w_path_create_directory(dir, P("sub")), OK);
    CHECK(w_path_symlink(P("file"), dir, P("to-file")), OK);
    CHECK(w_path_symlink(P("sub"), dir, P("to-sub")), OK);
    CHECK(w_path_symlink(P("nowhere"), dir, P("dangling")), OK);
    CHECK(w_path_symlink(P("loop"), dir, P("loop")), OK);
    CHECK(w_path_symlink(P("sub/.."), dir, P("to-dots")), OK);
    for (u32 i = 0; i < sizeof table / sizeof *table; i++)
        check_at("paths.c opening", i, table[i].path,
                 opens(table[i].path, table[i].lookup, table[i].oflags, table[i].rights), table[i].error);
    CHECK(stat_of("file", 0).size, 3);
    CHECK(opens("file", 0, TRUNC, R_WRITE), OK);
    CHECK(stat_of("file", 0).size, 0);
    /* Through a followed dangling link its target is made. */
    CHECK(opens("dangling", FOLLOW, CREAT, 0), OK);
    CHECK(stat_of("nowhere", 0).type, REGULAR_FILE);
    u32 fd;
    CHECK(w_path_open(dir, 0, P("file\0"), 0, 0, 0, 0, &fd), INVAL);
    CHECK(w_path_open(dir, 0, P("file"), 0, 0, 0, 32, &fd), INVAL);
    CHECK(w_path_open(dir, 0, P("file"), 0, 0, 0, ~0u, &fd), INVAL);
    CHECK(w_path_open(dir, 0, NOWHERE, 16, 0, 0, 0, 0, &fd), FAULT);
    CHECK(w_path_open(dir, 0, P("never"), CREAT, 0, 0, 0, NOWHERE + 6), FAULT);
    CHECK(opens("never", 0, 0, 0), NOENT);
    CHECK(w_path_open(NO_FD, 0, P("file"), 0, 0, 0, 0, &fd), BADF);
    CHECK(w_path_open(1, 0, P("file"), 0, 0, 0, 0, &fd), NOTDIR);
    u32 file = must_open(dir, "file", 0, R_READ, 0);
    CHECK(w_path_open(file, 0, P("file"), 0, 0, 0, 0, &fd), NOTDIR);
    CHECK(w_fd_close(file), OK);
    static char name[5000];
    memset(name, 'n', sizeof name);
    CHECK(w_path_open(dir, 0, name, 256, CREAT, 0, 0, 0, &fd), NAMETOOLONG);
    CHECK(w_path_open(dir, 0, name, 5000, 0, 0, 0, 0, &fd), NAMETOOLONG);
    CHECK(w_path_open(dir, 0, name, 255, CREAT, 0, 0, 0, &fd), OK);
    CHECK(w_fd_close(fd), OK);
    CHECK(w_path_unlink_file(dir, name, 255), OK);
}

static void attributes(void) {
    struct filestat link = stat_of("to-file", 0), file = stat_of("file", 0), stat;
    CHECK(link.type, SYMBOLIC_LINK);
    CHECK(link.size, 4);
    CHECK(stat_of("to-file", FOLLOW).inode, file.inode);
    CHECK(stat_of("sub", 0).type, TYPE_DIRECTORY);
    CHECK(stat_of("to-sub/", 0).type, TYPE_DIRECTORY);
    CHECK(w_path_filestat_set_times(dir, 0, P("to-file"), 7, 8, 1 | 4), OK);
    CHECK(stat_of("to-file", 0).mtime, 8);
    CHECK(stat_of("to-file", 0).atime, 7);
    CHECK(stat_of("file", 0).mtime, file.mtime);
    CHECK(w_path_filestat_set_times(dir, FOLLOW, P("to-file"), 9, 10, 4), OK);
    CHECK(stat_of("file", 0).mtime, 10);
    CHECK(stat_of("file", 0).atime, file.atime);
    CHECK(w_path_filestat_set_times(dir, 0, P("file"), 0, 0, 8), OK);
    CHECK(stat_of("file", 0).mtime >= file.mtime, 1);
    CHECK(w_path_filestat_set_times(dir, 0, P("file"), 0, 0, 1 | 2), INVAL);
    CHECK(w_path_filestat_set_times(dir, 0, P("file"), 0, 0, 4 | 8), INVAL);
    CHECK(w_path_filestat_set_times(dir, 0, P("file"), 0, 0, 16), INVAL);
    CHECK(w_path_filestat_set_times(dir, 2, P("file"), 0, 0, 1), INVAL);
    CHECK(w_path_filestat_set_times(dir, 0, P("none"), 0, 0, 1), NOENT);
    CHECK(w_path_filestat_set_times(NO_FD, 0, P("file"), 0, 0, 1), BADF);
    CHECK(w_path_filestat_set_times(1, 0, P("file"), 0, 0, 1), NOTDIR);
    CHECK(w_path_filestat_get(dir, 2, P("file"), &stat), INVAL);
    CHECK(w_path_filestat_get(dir, 0, P("none"), &stat), NOENT);
    CHECK(w_path_filestat_get(dir, 0, P("file/"), &stat), NOTDIR);
    CHECK(w_path_filestat_get(dir, FOLLOW, P("loop"), &stat), LOOP);
    CHECK(w_path_filestat_get(dir, 0, P("loop"), &stat), OK);
    CHECK(w_path_filestat_get(dir, 0, P("file"), NOWHERE), FAULT);
    CHECK(w_path_filestat_get(NO_FD, 0, P("file"), &stat), BADF);
    CHECK(w_path_filestat_get(2, 0, P("file"), &stat), NOTDIR);
}

static void links(void) {
    struct filestat file;
    CHECK(w_path_link(dir, 0, P("file"), dir, P("hard")), OK);
    file = stat_of("file", 0);
    CHECK(file.links, 2);
    CHECK(stat_of("hard", 0).inode, file.inode);
    CHECK(w_path_link(dir, 0, P("file"), dir, P("hard")), EXIST);
    CHECK(w_path_link(dir, 0, P("file"), dir, P("file")), EXIST);
    CHECK(w_path_link(dir, 0, P("file"), dir, P("sub")), EXIST);
    CHECK(w_path_link(dir, 0, P("file"), dir, P("to-sub")), EXIST);
    CHECK(w_path_link(dir, 0, P("file"), dir, P("fresh/")), NOENT);
    CHECK(w_path_link(dir, 0, P("file/"), dir, P("fresh")), NOTDIR);
    CHECK(w_path_link(dir, 0, P("none"), dir, P("fresh")), NOENT);
    CHECK(w_path_link(dir, 0, P("file"), dir, P("none/fresh")), NOENT);
    CHECK(w_path_link(dir, 0, P("sub"), dir, P("fresh")), PERM);
    CHECK(w_path_link(dir, 2, P("file"), dir, P("fresh")), INVAL);
    CHECK(w_path_link(dir, 0, P("to-file"), dir, P("fresh")), OK);
    CHECK(stat_of("fresh", 0).type, SYMBOLIC_LINK);
    CHECK(w_path_unlink_file(dir, P("fresh")), OK);
    CHECK(w_path_link(dir, 0, P("loop"), dir, P("fresh")), OK);
    CHECK(w_path_unlink_file(dir, P("fresh")), OK);
    CHECK(w_path_symlink(P("none"), dir, P("broken")), OK);
    CHECK(w_path_link(dir, FOLLOW, P("broken"), dir, P("fresh")), NOENT);
    CHECK(w_path_unlink_file(dir, P("broken")), OK);
    CHECK(w_path_link(dir, FOLLOW, P("to-file"), dir, P("fresh")), OK);
    CHECK(stat_of("fresh", 0).inode, file.inode);
    CHECK(w_path_unlink_file(dir, P("fresh")), OK);
    CHECK(w_path_link(NO_FD, 0, P("file"), dir, P("fresh")), BADF);
    CHECK(w_path_link(dir, 0, P("file"), NO_FD, P("fresh")), BADF);
    CHECK(w_path_link(1, 0, P("file"), dir, P("fresh")), NOTDIR);
    CHECK(w_path_link(dir, 0, P("file"), 1, P("fresh")), NOTDIR);
    CHECK(w_path_unlink_file(dir, P("hard")), OK);
    CHECK(stat_of("file", 0).links, 1);

    char target[16];
    u32 len = 0;
    memset(target, '#', sizeof target);
    CHECK(w_path_readlink(dir, P("to-file"), target, sizeof target, &len), OK);
    CHECK(len, 4);
    CHECK(memcmp(target, "file####", 8), 0);
    memset(target, '#', sizeof target);
    CHECK(w_path_readlink(dir, P("to-file"), target, 2, &len), OK);
    CHECK(len, 2);
    CHECK(memcmp(target, "fi##", 4), 0);
    CHECK(w_path_readlink(dir, P("to-file"), target, 0, &len), OK);
    CHECK(len, 0);
    CHECK(w_path_readlink(dir, P("file"), target, 16, &len), INVAL);
    CHECK(w_path_readlink(dir, P("sub"), target, 16, &len), INVAL);
    CHECK(w_path_readlink(dir, P("none"), target, 16, &len), NOENT);
    CHECK(w_path_readlink(dir, P("to-file"), NOWHERE + 6, 16, &len), FAULT);
    CHECK(w_path_readlink(dir, P("to-file"), target, 16, NOWHERE + 6), FAULT);
    CHECK(w_path_readlink(NO_FD, P("to-file"), target, 16, &len), BADF);
    CHECK(w_path_readlink(1, P("to-file"), target, 16, &len), NOTDIR);

    CHECK(w_path_symlink(P("x"), dir, P("file")), EXIST);
    CHECK(w_path_symlink(P("x"), dir, P("sub")), EXIST);
    CHECK(w_path_symlink(P("x"), dir, P("sub/")), EXIST);
    CHECK(w_path_symlink(P("x"), dir, P("dangling")), EXIST);
    CHECK_EITHER(w_path_symlink(P("x"), dir, P("file/")), NOTDIR, EXIST);
    CHECK(w_path_symlink(P("x"), dir, P("fresh/")), NOENT);
    CHECK(w_path_symlink(P("x"), dir, P("none/fresh")), NOENT);
    CHECK(w_path_symlink(P(""), dir, P("fresh")), NOENT);
    CHECK(w_path_symlink(P("x"), dir, P("")), NOENT);
    CHECK(w_path_symlink(P("x"), NO_FD, P("fresh")), BADF);
    CHECK(w_path_symlink(P("x"), 1, P("fresh")), NOTDIR);
    CHECK(w_path_symlink(NOWHERE, 16, dir, P("fresh")), FAULT);
}

static void renames(void) {
    static const struct {
        const char *from, *to;
        u32 error;
    } table[] = {
        {"a", "b", OK},           {"b", "b", OK},        {"none", "b", NOENT},    {"b", "none/b", NOENT},
        {"b", "d", ISDIR},        {"d", "b", NOTDIR},    {"d", "full", NOTEMPTY}, {"full", "d", OK},
        {"d", "d/in", INVAL},     {"d", "d/in/er", NOTDIR}, {"d/in", "d/out", OK}, {"b/", "c", NOTDIR},
        {"b", "c/", NOTDIR},      {"d/", "e/", OK},      {"e", "f/", OK},         {"f/", "d", OK},
        {"b", ".", BUSY},         {"..", "x", PERM},     {"b", "d/out", OK},      {"d/out", "d/.", BUSY},
        {"l", "m", OK},           {"m", "d/out", OK},    {"", "x", NOENT},        {"d/out", "", NOENT},
        {"d/out", "a", OK},
    };
    put_file(dir, "a", "a");
    CHECK(w_path_create_directory(dir, P("d")), OK);
    CHECK(w_path_create_directory(dir, P("full")), OK);
    put_file(dir, "full/in", "in");
    CHECK(w_path_symlink(P("nowhere"), dir, P("l")), OK);
    for (u32 i = 0; i < sizeof table / sizeof *table; i++)
        check_at("paths.c renames", i, table[i].from,
                 w_path_rename(dir, table[i].from, strlen(table[i].from), dir, table[i].to, strlen(table[i].to)),
                 table[i].error);
    CHECK(stat_of("a", 0).type, SYMBOLIC_LINK);
    /* An open file lives on under its new name, and without one. */
    put_file(dir, "old", "1");
    u32 fd = must_open(dir, "old", 0, RW, 0), done = 0;
    CHECK(w_path_rename(dir, P("old"), dir, P("younger")), OK);
    struct vector vector = {"234", 3};
    CHECK(w_fd_write(fd, &vector, 1, &done), OK);
    CHECK(stat_of("younger", 0).size, 3);
    CHECK(w_path_unlink_file(dir, P("younger")), OK);
    struct filestat stat;
    CHECK(w_fd_filestat_get(fd, &stat), OK);
    CHECK(stat.links == 0 && stat.size == 3, 1);
    CHECK(w_fd_close(fd), OK);
    CHECK(w_path_rename(NO_FD, P("a"), dir, P("x")), BADF);
    CHECK(w_path_rename(dir, P("a"), NO_FD, P("x")), BADF);
    CHECK(w_path_rename(1, P("a"), dir, P("x")), NOTDIR);
    CHECK(w_path_rename(dir, P("a"), 1, P("x")), NOTDIR);
    CHECK(w_path_rename(dir, NOWHERE, 16, dir, P("x")), FAULT);
}

static void removing(void) {
    CHECK(w_path_unlink_file(dir, P("sub")), ISDIR);
    CHECK(w_path_unlink_file(dir, P("sub/")), ISDIR);
    CHECK(w_path_unlink_file(dir, P("file/")), NOTDIR);
    CHECK(w_path_unlink_file(dir, P("none")), NOENT);
    CHECK(w_path_unlink_file(dir, P("to-sub")), OK);
    CHECK(w_path_unlink_file(dir, P("loop")), OK);
    CHECK(w_path_unlink_file(dir, P("file")), OK);
    CHECK(w_path_unlink_file(dir, P("file")), NOENT);
    CHECK(w_path_unlink_file(NO_FD, P("file")), BADF);
    CHECK(w_path_unlink_file(1, P("file")), NOTDIR);
    CHECK(w_path_unlink_file(dir, NOWHERE, 16), FAULT);
    CHECK(w_path_unlink_file(dir, P("x\0y")), INVAL);
}

int main(void) {
    dir = scratch("paths.test");
    opening();
    attributes();
    links();
    renames();
    removing();
    return end_of_checks("paths");
}
