/* A TCP echo server for wasi-libc as it is: the listener is passed in as descriptor 3 (LISTEN_FDS), and nothing but
 * accept, poll, recv and send is called. What a client sends comes back; when it ends its side, the rest is sent and
 * the connection is closed.
 *
 * Built natively it makes its own listener when LISTEN_FDS is not set: echo [PORT] (0 for a free one). */
#define _GNU_SOURCE /* accept4 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef __wasi__
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#endif

enum {
    FIRST_PASSED_FD = 3,
    MAX_CONNECTIONS = 16384,
    BUFFER_SIZE = 256 * 1024,
    ACCEPTS_PER_ROUND = 256,
};

/* What could not be sent yet. While there is any, nothing more is read, so `size` is at most BUFFER_SIZE. */
struct pending {
    char *bytes;
    size_t size;
    size_t sent;
};

/* Entry 0 of `polled` is the listener; entry i belongs to unsent[i]. */
static struct pollfd polled[MAX_CONNECTIONS + 1];
static struct pending unsent[MAX_CONNECTIONS + 1];
/* No descriptor was left for a connection: the listener is not polled until one is closed. */
static bool exhausted;
static nfds_t used = 1;
static char buffer[BUFFER_SIZE];

static bool would_block(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

static void accept_all(int listener)
{
    for (int i = 0; i < ACCEPTS_PER_ROUND && used <= MAX_CONNECTIONS; i++) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
        if (fd < 0) {
            exhausted = (errno == EMFILE || errno == ENFILE) && used > 1;
            return;
        }
#ifndef __wasi__
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
#endif
        polled[used] = (struct pollfd){.fd = fd, .events = POLLIN};
        unsent[used] = (struct pending){NULL, 0, 0};
        used++;
    }
}

/* Closes a connection; the last one takes its place. */
static void drop(nfds_t at)
{
    close(polled[at].fd);
    free(unsent[at].bytes);
    used--;
    polled[at] = polled[used];
    unsent[at] = unsent[used];
    exhausted = false;
}

/* Sends up to `len` bytes; returns how many went out, or -1 when the connection is broken. */
static ssize_t send_some(int fd, const char *bytes, size_t len)
{
    size_t done = 0;
    while (done < len) {
        ssize_t sent = send(fd, bytes + done, len - done, 0);
        if (sent < 0)
            return would_block() ? (ssize_t)done : -1;
        done += (size_t)sent;
    }
    return (ssize_t)done;
}

/* Both return false when the connection is over. */
static bool echo_more(nfds_t at)
{
    ssize_t got = recv(polled[at].fd, buffer, sizeof buffer, 0);
    ssize_t sent;
    size_t rest;
    if (got < 0)
        return would_block();
    if (got == 0)
        return false;
    sent = send_some(polled[at].fd, buffer, (size_t)got);
    if (sent < 0)
        return false;
    rest = (size_t)(got - sent);
    if (rest > 0) {
        unsent[at] = (struct pending){malloc(rest), rest, 0};
        if (unsent[at].bytes == NULL)
            return false;
        memcpy(unsent[at].bytes, buffer + sent, rest);
        polled[at].events = POLLOUT;
    }
    return true;
}

static bool send_pending(nfds_t at)
{
    struct pending *rest = &unsent[at];
    ssize_t sent = send_some(polled[at].fd, rest->bytes + rest->sent, rest->size - rest->sent);
    if (sent < 0)
        return false;
    rest->sent += (size_t)sent;
    if (rest->sent == rest->size) {
        free(rest->bytes);
        *rest = (struct pending){NULL, 0, 0};
        polled[at].events = POLLIN;
    }
    return true;
}

static void serve(int listener)
{
    polled[0] = (struct pollfd){.fd = listener, .events = POLLIN};
    for (;;) {
        /* A full table leaves the listener out: further clients wait in the backlog. */
        nfds_t skip = exhausted || used > MAX_CONNECTIONS ? 1 : 0;
        if (poll(polled + skip, used - skip, -1) < 0) {
            if (errno == EINTR)
                continue;
            perror("echo: poll");
            exit(1);
        }
        /* From the end, so that the entry which takes a dropped one's place has been served already. */
        for (nfds_t at = used - 1; at > 0; at--) {
            if (polled[at].revents == 0)
                continue;
            if (!(unsent[at].bytes != NULL ? send_pending(at) : echo_more(at)))
                drop(at);
        }
        if (skip == 0 && polled[0].revents != 0)
            accept_all(listener);
    }
}

#ifndef __wasi__
static int open_listener(const char *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    address.sin_port = htons((uint16_t)atoi(port));
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(fd, (struct sockaddr *)&address, len) != 0 || listen(fd, SOMAXCONN) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) != 0) {
        perror("echo: listen");
        exit(1);
    }
    printf("echo: listening on 127.0.0.1:%d\n", ntohs(address.sin_port));
    return fd;
}
#endif

int main(int argc, char **argv)
{
    const char *passed = getenv("LISTEN_FDS");
    int listener = FIRST_PASSED_FD;
    if (passed != NULL && atoi(passed) > 0) {
        printf("echo: listening on descriptor %d\n", listener);
    } else {
#ifdef __wasi__
        (void)argc;
        (void)argv;
        fprintf(stderr, "echo: LISTEN_FDS is not set; pass the listener in as descriptor 3\n");
        return 1;
#else
        listener = open_listener(argc > 1 ? argv[1] : "7");
#endif
    }
#ifndef __wasi__
    signal(SIGPIPE, SIG_IGN);
#endif
    fflush(stdout);
    if (fcntl(listener, F_SETFL, O_NONBLOCK) != 0) {
        perror("echo: listener");
        return 1;
    }
    serve(listener);
}
