/* An image server on ordinary BSD sockets: one process, one poll loop, many connections.
 *
 *   image-server [--host ADDRESS] [--port N] [--dir PATH] [--max-file BYTES]
 */
#define _GNU_SOURCE /* accept4 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "connection.h"

enum {
    MAX_CONNECTIONS = 16384, /* further clients wait in the backlog */
    ACCEPTS_PER_ROUND = 256,
};

struct options {
    const char *host;
    const char *folder;
    int port;
};

/* Entry 0 of `polled` is the listener; entry i belongs to connections[i]. */
static struct pollfd polled[MAX_CONNECTIONS + 1];
static struct connection *connections[MAX_CONNECTIONS + 1];
static nfds_t used = 1;

static _Noreturn void usage(const char *fault, const char *value)
{
    fprintf(stderr,
            "image-server: %s %s\n"
            "usage: image-server [--host ADDRESS] [--port N] [--dir PATH] [--max-file BYTES]\n",
            fault, value);
    exit(2);
}

static unsigned long long number(const char *option, const char *text, unsigned long long max)
{
    char *end;
    unsigned long long value = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0' || value > max)
        usage("not a valid value for", option);
    return value;
}

static struct options parse_options(int argc, char **argv)
{
    struct options options = {.host = "0.0.0.0", .folder = "images", .port = 8080};
    for (int i = 1; i < argc; i += 2) {
        const char *option = argv[i];
        if (i + 1 == argc)
            usage("no value for", option);
        if (strcmp(option, "--host") == 0)
            options.host = argv[i + 1];
        else if (strcmp(option, "--port") == 0)
            options.port = (int)number(option, argv[i + 1], 65535);
        else if (strcmp(option, "--dir") == 0)
            options.folder = argv[i + 1];
        else if (strcmp(option, "--max-file") == 0)
            max_file_bytes = number(option, argv[i + 1], UINT64_MAX / 2);
        else
            usage("unknown option", option);
    }
    return options;
}

static int open_listener(const struct options *options)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof address;
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    address.sin_port = htons((uint16_t)options->port);
    if (inet_pton(AF_INET, options->host, &address.sin_addr) != 1)
        usage("not an IPv4 address:", options->host);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(fd, (struct sockaddr *)&address, len) != 0 || listen(fd, SOMAXCONN) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) != 0) {
        fprintf(stderr, "image-server: cannot listen on %s:%d: %s\n", options->host, options->port, strerror(errno));
        exit(1);
    }
    printf("image-server: listening on %s:%d, images in %s\n", options->host, ntohs(address.sin_port), options->folder);
    fflush(stdout);
    return fd;
}

/* poll skips negative descriptors: that is how the listener rests. */
static void poll_listener(int listener, int wanted)
{
    polled[0].fd = wanted ? listener : -1;
}

static void accept_all(int listener)
{
    for (int i = 0; i < ACCEPTS_PER_ROUND && used <= MAX_CONNECTIONS; i++) {
        int on = 1;
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
        if (fd < 0) {
            /* No descriptor is left: wait until a connection is closed. */
            if ((errno == EMFILE || errno == ENFILE) && used > 1)
                poll_listener(listener, 0);
            return;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        connections[used] = malloc(sizeof **connections);
        if (connections[used] == NULL) {
            close(fd);
            return;
        }
        connection_start(connections[used], fd);
        polled[used++] = (struct pollfd){.fd = fd, .events = POLLIN};
    }
    if (used > MAX_CONNECTIONS)
        poll_listener(listener, 0);
}

/* Ends a connection; the last one takes its place. */
static void drop(nfds_t at)
{
    connection_end(connections[at]);
    free(connections[at]);
    used--;
    polled[at] = polled[used];
    connections[at] = connections[used];
}

static void serve(int listener)
{
    polled[0] = (struct pollfd){.fd = listener, .events = POLLIN};
    for (;;) {
        int ready = poll(polled, used, -1);
        if (ready < 0 && errno != EINTR) {
            perror("image-server: poll");
            exit(1);
        }
        /* From the end, so that the entry which takes a dropped one's place has been served already. */
        for (nfds_t at = used - 1; at > 0 && ready > 0; at--) {
            if (polled[at].revents == 0)
                continue;
            ready--;
            if (!connection_ready(connections[at])) {
                drop(at);
                poll_listener(listener, 1);
            } else {
                polled[at].events = connections[at]->phase == PHASE_REPLY ? POLLOUT : POLLIN;
            }
        }
        if (ready > 0 && polled[0].revents != 0)
            accept_all(listener);
    }
}

int main(int argc, char **argv)
{
    struct options options = parse_options(argc, argv);
    signal(SIGPIPE, SIG_IGN);
    store_open(options.folder);
    serve(open_listener(&options));
}
