/* A TCP echo server in plain C: socket, bind, listen, accept, poll, recv, send. What a client sends comes back; when it
 * ends its side, the rest is sent and the connection is closed. The same source is an ordinary program and a component of
 * WASI 0.2:
 *
 *   echo-c-p2 [PORT]      0, which is the default, is any free port
 *
 * wasi-libc's fcntl does not know sockets in every version, and its read and write wait whatever they were told: hence
 * ioctl, recv and send. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef __wasi__
#include <signal.h>
#endif

enum { MAX_CONNECTIONS = 1024, BUFFER_BYTES = 65536, BACKLOG = 1024 };

/* What was read and is not written yet: while there is any, nothing more is read. */
struct connection {
    size_t start, end;
    bool ended;
    char bytes[BUFFER_BYTES];
};

/* Entry 0 of `polled` is the listener; entry i belongs to connections[i]. */
static struct pollfd polled[MAX_CONNECTIONS + 1];
static struct connection *connections[MAX_CONNECTIONS + 1];
static nfds_t used = 1;

static bool again(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

static int fail(const char *what)
{
    fprintf(stderr, "echo-c-p2: %s: %s\n", what, strerror(errno));
    return EXIT_FAILURE;
}

static bool set_nonblocking(int fd)
{
    int on = 1;
    return ioctl(fd, FIONBIO, &on) == 0;
}

/* Takes one that waits; false when none does, or there is no room. */
static bool accept_one(int listener)
{
    if (used > MAX_CONNECTIONS) {
        return false;
    }
    int fd = accept(listener, NULL, NULL);
    if (fd < 0) {
        return false;
    }
    struct connection *connection = calloc(1, sizeof *connection);
    if (connection == NULL || !set_nonblocking(fd)) {
        free(connection);
        close(fd);
        return true;
    }
    polled[used] = (struct pollfd){.fd = fd, .events = POLLIN};
    connections[used] = connection;
    used++;
    return true;
}

/* Closes a connection; the last one takes its place. */
static void drop(nfds_t at)
{
    close(polled[at].fd);
    free(connections[at]);
    used--;
    polled[at] = polled[used];
    connections[at] = connections[used];
}

/* Reads and writes as much as goes without waiting; false when the connection is over. */
static bool serve(struct pollfd *entry, struct connection *connection)
{
    for (;;) {
        while (connection->start < connection->end) {
            ssize_t written =
                send(entry->fd, connection->bytes + connection->start, connection->end - connection->start, 0);
            if (written < 0) {
                entry->events = POLLOUT;
                return again();
            }
            connection->start += (size_t)written;
        }
        connection->start = connection->end = 0;
        if (connection->ended) {
            return false;
        }
        ssize_t count = recv(entry->fd, connection->bytes, BUFFER_BYTES, 0);
        if (count < 0) {
            entry->events = POLLIN;
            return again();
        }
        connection->ended = count == 0;
        connection->end = (size_t)count;
    }
}

int main(int argc, char **argv)
{
#ifndef __wasi__
    signal(SIGPIPE, SIG_IGN);
#endif
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (listener < 0) {
        return fail("socket");
    }
    int on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(argc > 1 ? (uint16_t)atoi(argv[1]) : 0)};
    socklen_t length = sizeof address;
    if (bind(listener, (struct sockaddr *)&address, length) != 0 || listen(listener, BACKLOG) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &length) != 0 || !set_nonblocking(listener)) {
        return fail("cannot listen");
    }
    printf("echo-c-p2: listening on 0.0.0.0:%d\n", ntohs(address.sin_port));
    fflush(stdout);
    polled[0] = (struct pollfd){.fd = listener, .events = POLLIN};
    for (;;) {
        polled[0].events = used > MAX_CONNECTIONS ? 0 : POLLIN;
        if (poll(polled, used, -1) < 0 && errno != EINTR) {
            return fail("poll");
        }
        /* From the end, as the last one takes the place of one that is dropped. */
        for (nfds_t at = used - 1; at > 0; at--) {
            if (polled[at].revents != 0 && !serve(&polled[at], connections[at])) {
                drop(at);
            }
        }
        if (polled[0].revents != 0) {
            while (accept_one(listener)) {
            }
        }
    }
}
