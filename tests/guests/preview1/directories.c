/* Directories: making, listing with cookies and short buffers, removing. */
#include "preview1.h"

enum { ENTRY = 24, FILES = 300 };

static u8 buffer[1 << 16];

/* Lists with a buffer of this size, as wasi-libc does; how many entries there were. */
static u32 list(u32 fd, u32 room, u32 *seen) {
    u64 cookie = 0;
    u32 count = 0;
    for (u32 calls = 0; calls < 100000; calls++) {
        u32 used = 0, at = 0;
        CHECK(w_fd_readdir(fd, buffer, room, cookie, &used), OK);
        while (at + ENTRY <= used) {
            struct entry entry;
            memcpy(&entry, buffer + at, sizeof entry);
            if (at + ENTRY + entry.name_len > used)
                break;
            u8 *name = buffer + at + ENTRY;
            if (entry.name_len == 4 && name[0] == 'f')
                seen[(name[1] - '0') * 100 + (name[2] - '0') * 10 + name[3] - '0']++;
            at += ENTRY + entry.name_len;
            cookie = entry.next;
            count++;
        }
        if (used < room)
            return count;
        if (at == 0)
            return ~0u;
    }
    return ~0u;
}

int main(void) {
    u32 dir = scratch("directories.test"), used = 0, seen[FILES] = {0};
    struct filestat stat;
    struct entry entry;

    /* An empty one has itself and its parent. */
    CHECK(w_fd_readdir(dir, buffer, sizeof buffer, 0, &used), OK);
    CHECK(used, 2 * ENTRY + 3);
    memcpy(&entry, buffer, sizeof entry);
    CHECK(w_fd_filestat_get(dir, &stat), OK);
    CHECK(entry.inode, stat.inode);
    CHECK(entry.type, TYPE_DIRECTORY);
    CHECK(entry.name_len, 1);
    CHECK(buffer[ENTRY], '.');
    memcpy(&entry, buffer + ENTRY + 1, sizeof entry);
    CHECK(entry.type, TYPE_DIRECTORY);
    CHECK(memcmp(buffer + 2 * ENTRY + 1, "..", 2), 0);

    char name[5] = "f000";
    for (u32 i = 0; i < FILES; i++) {
        name[1] = '0' + i / 100, name[2] = '0' + i / 10 % 10, name[3] = '0' + i % 10;
        put_file(dir, name, "");
    }
    /* Buffers in which the last entry is cut at every place. */
    for (u32 room = ENTRY + 4; room < ENTRY + 40; room++) {
        memset(seen, 0, sizeof seen);
        CHECK(list(dir, room, seen), FILES + 2);
        u32 once = 1;
        for (u32 i = 0; i < FILES; i++)
            once &= seen[i] == 1;
        CHECK(once, 1);
    }
    CHECK(w_fd_readdir(dir, buffer, 0, 0, &used), OK);
    CHECK(used, 0);
    CHECK(w_fd_readdir(dir, buffer, ENTRY - 1, 0, &used), OK);
    CHECK(used, ENTRY - 1);
    CHECK(w_fd_readdir(dir, buffer, sizeof buffer, ~0ull, &used), OK);
    CHECK(used, 0);

    /* A cookie stays good when entries are removed, that of a removed one too. */
    CHECK(w_fd_readdir(dir, buffer, 3 * (ENTRY + 4), 0, &used), OK);
    memcpy(&entry, buffer + 2 * ENTRY + 3, sizeof entry);
    memcpy(name, buffer + 3 * ENTRY + 3, 4);
    CHECK(w_path_unlink_file(dir, name, 4), OK);
    CHECK(w_fd_readdir(dir, buffer, sizeof buffer, entry.next, &used), OK);
    CHECK(used, (FILES - 1) * (ENTRY + 4));

    CHECK(w_fd_readdir(dir, NOWHERE, 64, 0, &used), FAULT);
    CHECK(w_fd_readdir(dir, buffer, 64, 0, NOWHERE + 6), FAULT);
    CHECK(w_fd_readdir(NO_FD, buffer, 64, 0, &used), BADF);
    CHECK(w_fd_readdir(1, buffer, 64, 0, &used), NOTDIR);
    u32 file = must_open(dir, "f299", 0, R_READ, 0);
    CHECK(w_fd_readdir(file, buffer, 64, 0, &used), NOTDIR);

    static const struct {
        const char *path;
        u32 makes, removes;
    } table[] = {
        {"d", OK, OK},        {"d/", OK, OK},          {"d//", OK, OK},      {"none/d", NOENT, NOENT},
        {"f299", EXIST, NOTDIR}, {"f299/", NOTDIR, NOTDIR}, {"f299/d", NOTDIR, NOTDIR}, {"full", EXIST, NOTEMPTY},
        {"full/", EXIST, NOTEMPTY}, {"link", EXIST, NOTDIR}, {"dangling", EXIST, NOTDIR}, {".", EXIST, INVAL},
        {"full/..", EXIST, INVAL}, {"", NOENT, NOENT}, {"\xff", ILSEQ, ILSEQ}, {"\xe2\x82\xac", OK, OK},
    };
    CHECK(w_path_create_directory(dir, P("full")), OK);
    put_file(dir, "full/in", "");
    CHECK(w_path_symlink(P("full"), dir, P("link")), OK);
    CHECK(w_path_symlink(P("none"), dir, P("dangling")), OK);
    for (u32 i = 0; i < sizeof table / sizeof *table; i++) {
        const char *path = table[i].path;
        check_at("directories.c making", i, path, w_path_create_directory(dir, path, strlen(path)), table[i].makes);
        check_at("directories.c removing", i, path, w_path_remove_directory(dir, path, strlen(path)), table[i].removes);
    }
    CHECK(w_path_create_directory(dir, NOWHERE, 16), FAULT);
    CHECK(w_path_create_directory(dir, P("a\0b")), INVAL);
    CHECK(w_path_create_directory(NO_FD, P("d")), BADF);
    CHECK(w_path_create_directory(1, P("d")), NOTDIR);
    CHECK(w_path_remove_directory(dir, NOWHERE, 16), FAULT);
    CHECK(w_path_remove_directory(NO_FD, P("d")), BADF);
    CHECK(w_path_remove_directory(1, P("d")), NOTDIR);

    /* One that was removed while it is open takes nothing new. */
    CHECK(w_path_create_directory(dir, P("gone")), OK);
    u32 gone = must_open(dir, "gone", DIRECTORY, 0, 0), fd;
    CHECK(w_path_remove_directory(dir, P("gone")), OK);
    CHECK(w_path_create_directory(gone, P("d")), NOENT);
    CHECK(w_path_open(gone, 0, P("f"), CREAT, RW, 0, 0, &fd), NOENT);
    CHECK(w_fd_readdir(gone, buffer, 64, 0, &used), NOENT);
    CHECK(w_fd_filestat_get(gone, &stat), OK);
    CHECK(stat.links, 0);
    return end_of_checks("directories");
}
