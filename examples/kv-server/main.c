/* A key-value server that speaks RESP2: redis-cli, redis-benchmark and the usual client libraries talk to it.
 * Everything is in memory; one process, one poll loop.
 *
 *   kv-server [--host ADDRESS] [--port N] [--max-memory BYTES]
 */
#define _GNU_SOURCE /* accept4 */
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "families.h"

enum {
    MAX_CLIENTS = 16384, /* further ones wait in the backlog */
    ACCEPTS_PER_ROUND = 256,
    EXPIRIES_PER_ROUND = 1000,
};

struct options {
    const char *host;
    int port;
};

/* Entry 0 of `polled` is the listener; entry i belongs to clients[i]. */
static struct pollfd polled[MAX_CLIENTS + 1];
static struct client *clients[MAX_CLIENTS + 1];
static nfds_t used = 1;

static _Noreturn void usage(const char *fault, const char *value)
{
    fprintf(stderr,
            "kv-server: %s %s\n"
            "usage: kv-server [--host ADDRESS] [--port N] [--max-memory BYTES]\n",
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
    struct options options = {.host = "0.0.0.0", .port = 6379};
    for (int i = 1; i < argc; i += 2) {
        const char *option = argv[i];
        if (i + 1 == argc)
            usage("no value for", option);
        if (strcmp(option, "--host") == 0)
            options.host = argv[i + 1];
        else if (strcmp(option, "--port") == 0)
            options.port = (int)number(option, argv[i + 1], 65535);
        else if (strcmp(option, "--max-memory") == 0)
            table_max_bytes = number(option, argv[i + 1], INT64_MAX);
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
        fprintf(stderr, "kv-server: cannot listen on %s:%d: %s\n", options->host, options->port, strerror(errno));
        exit(1);
    }
    printf("kv-server: listening on %s:%d\n", options->host, ntohs(address.sin_port));
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
    for (int i = 0; i < ACCEPTS_PER_ROUND && used <= MAX_CLIENTS; i++) {
        int on = 1;
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
        if (fd < 0) {
            /* No descriptor is left: wait until a connection is closed. */
            if ((errno == EMFILE || errno == ENFILE) && used > 1)
                poll_listener(listener, 0);
            return;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        clients[used] = malloc(sizeof **clients);
        if (clients[used] == NULL) {
            close(fd);
            return;
        }
        client_start(clients[used], fd);
        polled[used++] = (struct pollfd){.fd = fd, .events = POLLIN};
        connected_clients++;
    }
    if (used > MAX_CLIENTS)
        poll_listener(listener, 0);
}

/* Disconnects a client; the last one takes its place. */
static void drop(nfds_t at)
{
    client_end(clients[at]);
    free(clients[at]);
    used--;
    connected_clients--;
    polled[at] = polled[used];
    clients[at] = clients[used];
}

/* Until the next key expires, in milliseconds; -1, which is for ever, when none will. */
static int timeout_ms(void)
{
    int64_t next = table_next_expiry(), left;
    if (next == 0)
        return -1;
    left = next - clock_ms();
    return left < 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left;
}

static void serve(int listener)
{
    polled[0] = (struct pollfd){.fd = listener, .events = POLLIN};
    for (;;) {
        int ready = poll(polled, used, timeout_ms());
        if (ready < 0 && errno != EINTR) {
            perror("kv-server: poll");
            exit(1);
        }
        clock_forget();
        if (table_next_expiry() != 0)
            table_expire_due(EXPIRIES_PER_ROUND);
        /* From the end, so that the entry which takes a dropped one's place has been served already. */
        for (nfds_t at = used - 1; at > 0 && ready > 0; at--) {
            if (polled[at].revents == 0)
                continue;
            ready--;
            if (!client_ready(clients[at])) {
                drop(at);
                poll_listener(listener, 1);
            } else {
                polled[at].events = client_wants_to_send(clients[at]) ? POLLOUT : POLLIN;
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
    serve(open_listener(&options));
}
