/* Does what its arguments say, one word and its operands after another, and ends at the first failure with code 9.
 *
 *   write PATH TEXT   append PATH TEXT   cat PATH   ls PATH   mkdir PATH   rmdir PATH   rm PATH   mv FROM TO
 *   ln FROM TO   sym TARGET PATH   touch PATH SECONDS   size PATH BYTES   stat PATH   sleep MILLISECONDS   time
 *   random   args   env   echo (standard input to output)   poll (which of input and 50 ms comes first)   err TEXT
 *   exit CODE   trap   spin */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static char **next;

static char *operand(void) {
    if (*next == NULL) {
        fprintf(stderr, "an operand is missing\n");
        exit(9);
    }
    return *next++;
}

static void check(int failed, const char *word) {
    if (failed) {
        fprintf(stderr, "%s: %s\n", word, strerror(errno));
        exit(9);
    }
}

static int put(const char *path, int flags, const char *text) {
    int fd = open(path, O_WRONLY | O_CREAT | flags, 0666);
    if (fd < 0)
        return -1;
    int short_write = write(fd, text, strlen(text)) != (ssize_t)strlen(text);
    return close(fd) != 0 || short_write ? -1 : 0;
}

static int copy(int from) {
    static char buffer[65536];
    ssize_t got;
    while ((got = read(from, buffer, sizeof buffer)) > 0)
        for (ssize_t done = 0; done < got;) {
            ssize_t wrote = write(1, buffer + done, got - done);
            if (wrote < 0)
                return -1;
            done += wrote;
        }
    return got < 0 ? -1 : 0;
}

static int by_name(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }

static int list(const char *path) {
    struct dirent **entries;
    int count = scandir(path, &entries, NULL, by_name);
    for (int i = 0; i < count; i++)
        if (entries[i]->d_name[0] != '.')
            printf("%s%s\n", entries[i]->d_name, entries[i]->d_type == DT_DIR ? "/" : "");
    return count < 0 ? -1 : 0;
}

static int touch(const char *path, long seconds) {
    struct timespec times[2] = {{seconds, 0}, {seconds, 0}};
    return utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW);
}

static int stat_of(const char *path) {
    struct stat stat;
    if (lstat(path, &stat) != 0)
        return -1;
    printf("%lld bytes, %lu names, changed %lld\n", (long long)stat.st_size, (unsigned long)stat.st_nlink,
           (long long)stat.st_mtim.tv_sec);
    return 0;
}

static int tell_time(void) {
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0)
        return -1;
    printf("%lld.%09ld\n", (long long)now.tv_sec, now.tv_nsec);
    return 0;
}

static int tell_random(void) {
    unsigned char bytes[8];
    if (getentropy(bytes, sizeof bytes) != 0)
        return -1;
    for (unsigned i = 0; i < sizeof bytes; i++)
        printf("%02x", bytes[i]);
    printf("\n");
    return 0;
}

static int sleep_for(long milliseconds) {
    struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    return nanosleep(&time, NULL);
}

static int poll_input(void) {
    struct pollfd input = {.fd = 0, .events = POLLIN};
    int ready = poll(&input, 1, 50);
    printf("%s\n", ready == 0 ? "timeout" : "input");
    return ready < 0 ? -1 : 0;
}

static int words(char **all) {
    for (char **word = all; *word != NULL; word++)
        printf("%s\n", *word);
    return 0;
}

static int act(const char *word, char **argv) {
#define IS(name) (strcmp(word, name) == 0)
    if (IS("write")) { char *path = operand(); return put(path, O_TRUNC, operand()); }
    if (IS("append")) { char *path = operand(); return put(path, O_APPEND, operand()); }
    if (IS("cat")) { fflush(stdout); int fd = open(operand(), O_RDONLY); return fd < 0 || copy(fd) != 0 ? -1 : close(fd); }
    if (IS("ls")) return list(operand());
    if (IS("mkdir")) return mkdir(operand(), 0777);
    if (IS("rmdir")) return rmdir(operand());
    if (IS("rm")) return unlink(operand());
    if (IS("mv")) { char *from = operand(); return rename(from, operand()); }
    if (IS("ln")) { char *from = operand(); return link(from, operand()); }
    if (IS("sym")) { char *target = operand(); return symlink(target, operand()); }
    if (IS("touch")) { char *path = operand(); return touch(path, atol(operand())); }
    if (IS("size")) { char *path = operand(); return truncate(path, atoll(operand())); }
    if (IS("stat")) return stat_of(operand());
    if (IS("sleep")) return sleep_for(atol(operand()));
    if (IS("time")) return tell_time();
    if (IS("random")) return tell_random();
    if (IS("args")) return words(argv);
    if (IS("env")) return words(environ);
    if (IS("echo")) { fflush(stdout); return copy(0); }
    if (IS("poll")) return poll_input();
    if (IS("err")) { fprintf(stderr, "%s", operand()); return 0; }
    if (IS("exit")) exit(atoi(operand()));
    if (IS("trap")) __builtin_trap();
    if (IS("spin")) for (volatile int i = 0;; i++) {}
    fprintf(stderr, "unknown word %s\n", word);
    exit(9);
}

int main(int argc, char **argv) {
    (void)argc;
    next = argv + 1;
    while (*next != NULL) {
        char *word = operand();
        check(act(word, argv) != 0, word);
    }
    return 0;
}
