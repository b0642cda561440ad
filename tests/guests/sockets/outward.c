/* A program in C on sdk/c that calls outside: three rounds of a look-up, a connection and a datagram that are waited for
 * together, a wait and a random number, each told in one line. */
#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 3, PATIENCE_MS = 60000 };

static void check(bool good, const char *what)
{
    if (!good) {
        perror(what);
        exit(1);
    }
}

/* A socket of that kind on its way to an address, which never makes its caller wait. */
static int start(int kind, const struct addrinfo *to)
{
    int fd = socket(to->ai_family, kind | SOCK_NONBLOCK, 0);
    check(fd >= 0, "socket");
    check(connect(fd, to->ai_addr, to->ai_addrlen) == 0 || errno == EINPROGRESS, "connect");
    return fd;
}

static void connected(int fd)
{
    int error;
    socklen_t len = sizeof error;
    check(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0, "getsockopt");
    errno = error;
    check(error == 0, "connect");
}

static void say(int fd, const char *words)
{
    check(send(fd, words, strlen(words), 0) == (ssize_t)strlen(words), "send");
}

/* Takes what is there onto the end of a text; false at the end of the stream. */
static bool hear(int fd, char *text, size_t room)
{
    size_t len = strlen(text);
    ssize_t count = recv(fd, text + len, room - len - 1, 0);
    check(count >= 0, "recv");
    text[len + count] = '\0';
    return count > 0;
}

/* Says both, and takes the answers as they come: all of the connection's, and one datagram. */
static void exchange(const struct addrinfo *to, int round, char *answer, char *pong, size_t room)
{
    struct pollfd waits[2] = {{start(SOCK_STREAM, to), POLLOUT, 0}, {start(SOCK_DGRAM, to), POLLIN, 0}};
    char asked[32], ping[32];
    snprintf(asked, sizeof asked, "round %d\n", round);
    snprintf(ping, sizeof ping, "ping %d", round);
    say(waits[1].fd, ping);
    for (int left = 2; left > 0;) {
        check(poll(waits, 2, PATIENCE_MS) > 0, "poll");
        if ((waits[0].revents & POLLOUT) != 0) {
            connected(waits[0].fd);
            say(waits[0].fd, asked);
            check(shutdown(waits[0].fd, SHUT_WR) == 0, "shutdown");
            waits[0].events = POLLIN;
        } else if (waits[0].revents != 0 && !hear(waits[0].fd, answer, room)) {
            check(close(waits[0].fd) == 0, "close");
            waits[0].fd = -1;
            left--;
        }
        if (waits[1].revents != 0) {
            hear(waits[1].fd, pong, room);
            check(close(waits[1].fd) == 0, "close");
            waits[1].fd = -1;
            left--;
        }
    }
}

static void call(int round)
{
    struct addrinfo *found = NULL, hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
    struct timespec pause = {0, 50000000}, now;
    char answer[64] = "", pong[64] = "";
    uint64_t random;
    check(getaddrinfo("db.example", "5432", &hints, &found) == 0, "getaddrinfo");
    exchange(found, round, answer, pong, sizeof answer);
    freeaddrinfo(found);
    check(nanosleep(&pause, NULL) == 0, "nanosleep");
    check(getentropy(&random, sizeof random) == 0, "getentropy");
    check(clock_gettime(CLOCK_REALTIME, &now) == 0, "clock_gettime");
    answer[strcspn(answer, "\n")] = '\0';
    printf("%s %s %" PRIu64 " %lld%09ld\n", answer, pong, random, (long long)now.tv_sec, now.tv_nsec);
}

int main(void)
{
    for (int round = 0; round < ROUNDS; round++)
        call(round);
    return 0;
}
