/* A SQL shell over TCP: clients send statements, ended by a semicolon at the end of a line, and get rows. One database, one
 * process, one poll loop. See sql.h for the protocol.
 *
 * A client that has a transaction open has the database alone: what others send waits until the transaction ends, which it
 * does with its client, or after --transaction-seconds without a statement.
 *
 *   sqlite-shell [--host ADDRESS] [--port N] [--file PATH] [--transaction-seconds N]
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
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "session.h"
#include "sql.h"

enum {
    MAX_SESSIONS = 256, /* further clients wait in the backlog */
    STATEMENTS_PER_ROUND = 256,
};

/* Entry 0 of `polled` is the listener; entry i + 1 belongs to sessions[i]. */
static struct pollfd polled[MAX_SESSIONS + 1];
static struct session *sessions[MAX_SESSIONS];
static size_t used;
/* Who has a transaction open, and until when. */
static struct session *owner;
static long long owner_until_ms;
static long transaction_seconds = 30;

static _Noreturn void usage(const char *fault, const char *value)
{
    fprintf(stderr,
            "sqlite-shell: %s %s\n"
            "usage: sqlite-shell [--host ADDRESS] [--port N] [--file PATH] [--transaction-seconds N]\n",
            fault, value);
    exit(2);
}

static long number(const char *text, long max)
{
    char *end;
    long value = strtol(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0' || value > max)
        usage("not a valid number:", text);
    return value;
}

static long long now_ms(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (long long)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

static int open_listener(const char *host, int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof address;
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    address.sin_port = htons((uint16_t)port);
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1)
        usage("not an IPv4 address:", host);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(fd, (struct sockaddr *)&address, len) != 0 || listen(fd, SOMAXCONN) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) != 0) {
        fprintf(stderr, "sqlite-shell: cannot listen on %s:%d: %s\n", host, port, strerror(errno));
        exit(1);
    }
    printf("sqlite-shell: listening on %s:%d\n", host, ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

static void accept_one(int listener)
{
    int on = 1;
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    if (fd < 0)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    sessions[used] = malloc(sizeof **sessions);
    if (sessions[used] == NULL) {
        close(fd);
        return;
    }
    session_start(sessions[used++], fd);
}

static void forget_owner(void)
{
    if (owner != NULL && sql_in_transaction())
        sql_roll_back();
    owner = NULL;
}

/* Executes what a session may execute now; whether it did something. */
static bool serve(struct session *session)
{
    bool worked = false;
    for (int i = 0; i < STATEMENTS_PER_ROUND && (owner == NULL || owner == session); i++) {
        if (!session_execute(session))
            break;
        worked = true;
        owner = sql_in_transaction() ? session : NULL;
        owner_until_ms = now_ms() + transaction_seconds * 1000;
    }
    session_send(session);
    return worked;
}

/* Serves everybody; those whose turn came because a transaction ended too. Whether work may be left. */
static bool serve_all(void)
{
    bool worked = false;
    if (owner != NULL && now_ms() >= owner_until_ms) {
        buffer_add_text(&owner->output, "-- error: the transaction took too long and was rolled back\n");
        forget_owner();
    }
    for (size_t i = 0; i < used; i++) {
        worked |= serve(sessions[i]);
        /* What waits behind a transaction of another client is not the end. */
        if (session_is_over(sessions[i]) && (sessions[i]->broken || owner == NULL || owner == sessions[i])) {
            if (owner == sessions[i])
                forget_owner();
            session_end(sessions[i]);
            free(sessions[i]);
            sessions[i] = NULL;
            worked = true;
        }
    }
    size_t kept = 0;
    for (size_t i = 0; i < used; i++) {
        if (sessions[i] != NULL)
            sessions[kept++] = sessions[i];
    }
    used = kept;
    return worked;
}

static void wait_and_receive(int listener, int timeout_ms)
{
    polled[0] = (struct pollfd){.fd = used < MAX_SESSIONS ? listener : -1, .events = POLLIN};
    for (size_t i = 0; i < used; i++) {
        short events = session_takes_more(sessions[i]) ? POLLIN : 0;
        polled[i + 1] = (struct pollfd){.fd = sessions[i]->fd, .events = sessions[i]->output.len > 0 ? POLLOUT : events};
    }
    if (poll(polled, used + 1, timeout_ms) < 0 && errno != EINTR) {
        perror("sqlite-shell: poll");
        exit(1);
    }
    for (size_t i = 0; i < used; i++) {
        if (polled[i + 1].revents & ~POLLOUT)
            session_receive(sessions[i]);
    }
    if (polled[0].revents != 0)
        accept_one(listener);
}

int main(int argc, char **argv)
{
    const char *host = "0.0.0.0", *file = NULL;
    int port = 5433, listener;
    for (int i = 1; i < argc; i += 2) {
        if (i + 1 == argc)
            usage("no value for", argv[i]);
        if (strcmp(argv[i], "--host") == 0)
            host = argv[i + 1];
        else if (strcmp(argv[i], "--port") == 0)
            port = (int)number(argv[i + 1], 65535);
        else if (strcmp(argv[i], "--file") == 0)
            file = argv[i + 1];
        else if (strcmp(argv[i], "--transaction-seconds") == 0)
            transaction_seconds = number(argv[i + 1], 3600);
        else
            usage("unknown option", argv[i]);
    }
    signal(SIGPIPE, SIG_IGN);
    if (file == NULL) {
        file = "/data/shell.db";
        mkdir("/data", 0777); /* it may be there */
    }
    sql_open(file);
    listener = open_listener(host, port);
    for (bool busy = false;;) {
        long long left = owner == NULL ? -1 : owner_until_ms - now_ms();
        wait_and_receive(listener, busy ? 0 : owner == NULL ? -1 : left < 0 ? 0 : (int)left);
        busy = serve_all();
    }
}
