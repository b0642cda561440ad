/* Paths that lead out of the directory that they start at, given to every function that takes a path. None may be
 * followed, whatever else is wrong with it. */
#include "preview1.h"

static u32 dir, outside;
static u8 buffer[64];

static int is_refused(u32 error) { return error == PERM || error == NOTCAPABLE; }

#define REFUSED(what) check_at(__FILE_NAME__, __LINE__, #what, is_refused(what) ? 1 : (s64)(what) + 1000, 1)

/* Every function with a path that leads out, as a last component that would be there, or could be made. */
static void lead_out(const char *path) {
    u32 len = strlen(path), fd;
    printf("path %s\n", path);
    for (u32 lookup = 0; lookup < 2; lookup++) {
        REFUSED(w_path_open(dir, lookup, path, len, 0, 0, 0, 0, &fd));
        REFUSED(w_path_open(dir, lookup, path, len, CREAT, RW, 0, 0, &fd));
        REFUSED(w_path_open(dir, lookup, path, len, CREAT | EXCL, RW, 0, 0, &fd));
        REFUSED(w_path_open(dir, lookup, path, len, TRUNC, R_WRITE, 0, 0, &fd));
        REFUSED(w_path_open(dir, lookup, path, len, DIRECTORY, 0, 0, 0, &fd));
        REFUSED(w_path_filestat_get(dir, lookup, path, len, buffer));
        REFUSED(w_path_filestat_set_times(dir, lookup, path, len, 1, 1, 5));
        REFUSED(w_path_link(dir, lookup, path, len, dir, P("made")));
        REFUSED(w_path_link(dir, lookup, P("file"), dir, path, len));
    }
    REFUSED(w_path_create_directory(dir, path, len));
    REFUSED(w_path_remove_directory(dir, path, len));
    REFUSED(w_path_unlink_file(dir, path, len));
    REFUSED(w_path_readlink(dir, path, len, buffer, sizeof buffer, &fd));
    REFUSED(w_path_symlink(P("file"), dir, path, len));
    REFUSED(w_path_rename(dir, path, len, dir, P("made")));
    REFUSED(w_path_rename(dir, P("file"), dir, path, len));
}

/* A link that leads out, as the last component: what does not follow it sees the link, what follows it is refused. */
static void link_out(const char *path) {
    u32 len = strlen(path), fd;
    printf("link %s\n", path);
    CHECK(w_path_open(dir, 0, path, len, 0, 0, 0, 0, &fd), LOOP);
    REFUSED(w_path_open(dir, FOLLOW, path, len, 0, 0, 0, 0, &fd));
    REFUSED(w_path_open(dir, FOLLOW, path, len, CREAT, RW, 0, 0, &fd));
    CHECK(w_path_open(dir, FOLLOW, path, len, CREAT | EXCL, RW, 0, 0, &fd), EXIST);
    REFUSED(w_path_open(dir, FOLLOW, path, len, TRUNC, R_WRITE, 0, 0, &fd));
    REFUSED(w_path_open(dir, FOLLOW, path, len, DIRECTORY, 0, 0, 0, &fd));
    CHECK(w_path_filestat_get(dir, 0, path, len, buffer), OK);
    REFUSED(w_path_filestat_get(dir, FOLLOW, path, len, buffer));
    REFUSED(w_path_filestat_set_times(dir, FOLLOW, path, len, 1, 1, 5));
    REFUSED(w_path_link(dir, FOLLOW, path, len, dir, P("made")));
    CHECK(w_path_create_directory(dir, path, len), EXIST);
    CHECK(w_path_remove_directory(dir, path, len), NOTDIR);
    CHECK(w_path_symlink(P("file"), dir, path, len), EXIST);
    CHECK(w_path_link(dir, 0, P("file"), dir, path, len), EXIST);
}

static void untouched(void) {
    struct filestat stat;
    u32 used = 0;
    CHECK(w_path_filestat_get(outside, 0, P("secret"), &stat), OK);
    CHECK(stat.size == 6 && stat.mtime == 77 && stat.links == 1, 1);
    CHECK(w_fd_readdir(outside, buffer, 0, 0, &used), OK);
    CHECK(w_path_filestat_get(outside, 0, P("made"), &stat), NOENT);
    CHECK(w_path_filestat_get(dir, 0, P("made"), &stat), NOENT);
    CHECK(w_path_filestat_get(dir, 0, P("file"), &stat), OK);
}

int main(void) {
    outside = scratch("escapes.test");
    put_file(outside, "secret", "secret");
    CHECK(w_path_filestat_set_times(outside, 0, P("secret"), 77, 77, 5), OK);
    CHECK(w_path_create_directory(outside, P("in")), OK);
    dir = must_open(outside, "in", DIRECTORY, 0, 0);
    put_file(dir, "file", "file");
    CHECK(w_path_create_directory(dir, P("sub")), OK);
    static const struct {
        const char *target, *name;
    } links[] = {
        {"../secret", "out"},        {"..", "up"},          {"sub/../../secret", "around"}, {"out", "twice"},
        {"../none", "dangling-out"}, {"../in/file", "back"},
    };
    for (u32 i = 0; i < sizeof links / sizeof *links; i++)
        CHECK(w_path_symlink(links[i].target, strlen(links[i].target), dir, links[i].name, strlen(links[i].name)), OK);
    REFUSED(w_path_symlink(P("/etc/passwd"), dir, P("made")));
    REFUSED(w_path_symlink(P("/"), dir, P("made")));

    static const char *paths[] = {
        "..", "../", "../secret", "../made", "../in/file", "sub/../../secret", "sub/../../made", "./..", ".//..//secret",
        "sub/.././../secret", "../../../../../../etc/passwd", "/", "/secret", "/made", "//secret", "/..", "/./file",
        "up/secret", "up/made", "up/..", "up/in/file", "up/", "sub/../up/made", "around/", "out/", "dangling-out/",
    };
    for (u32 i = 0; i < sizeof paths / sizeof *paths; i++) {
        lead_out(paths[i]);
        untouched();
    }
    for (u32 i = 0; i < sizeof links / sizeof *links; i++) {
        link_out(links[i].name);
        untouched();
    }
    /* What a link says is not what it leads to: a directory that is moved keeps its own. */
    CHECK(w_path_create_directory(dir, P("sub/deep")), OK);
    u32 deep = must_open(dir, "sub/deep", DIRECTORY, 0, 0), fd;
    CHECK(w_path_rename(dir, P("sub/deep"), dir, P("deep")), OK);
    REFUSED(w_path_open(deep, 0, P("../file"), 0, 0, 0, 0, &fd));
    REFUSED(w_path_open(deep, 0, P("../../secret"), 0, 0, 0, 0, &fd));
    CHECK(w_path_symlink(P("../file"), dir, P("deep/link")), OK);
    CHECK(w_path_open(dir, FOLLOW, P("deep/link"), 0, 0, 0, 0, &fd), OK);
    REFUSED(w_path_open(deep, FOLLOW, P("link"), 0, 0, 0, 0, &fd));
    untouched();
    return end_of_checks("escapes");
}
