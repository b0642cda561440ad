/* A server for Lua over TCP: clients send chunks and get their results. One Lua state for all, one process, one poll loop. See
 * scripts.h for the protocol.
 *
 *   lua-server [--host ADDRESS] [--port N] [--scripts FOLDER]
 */
#define _GNU_SOURCE /* accept4 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "scripts.h"

enum {
    MAX_SESSIONS = 128, /* further clients wait in the backlog */
    MAX_LINES = 1000,   /* of one chunk */
    RECEIVE_BYTES = 16 * 1024,
    PAUSE_BYTES = 64 * 1024, /* of answers that wait: nothing is run then */
};

struct session {
    int fd;
    bool ended;  /* it has sent its last byte */
    bool broken; /* it is disconnected at once */
    struct buffer input;
    size_t searched; /* no chunk ends before */
    unsigned lines;  /* of the chunk so far */
    struct buffer output;
};

/* Entry 0 of `polled` is the listener; entry i + 1 belongs to sessions[i]. */
static struct pollfd polled[MAX_SESSIONS + 1];
static struct session sessions[MAX_SESSIONS];
static size_t used;

static _Noreturn void usage(const char *fault, const char *value)
{
    fprintf(stderr, "lua-server: %s %s\nusage: lua-server [--host ADDRESS] [--port N] [--scripts FOLDER]\n", fault, value);
    exit(2);
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
        fprintf(stderr, "lua-server: cannot listen on %s:%d: %s\n", host, port, strerror(errno));
        exit(1);
    }
    printf("lua-server: listening on %s:%d\n", host, ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

static bool would_block(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

static void send_pending(struct session *session)
{
    while (session->output.len > 0 && !session->broken) {
        ssize_t sent = send(session->fd, session->output.bytes, session->output.len, MSG_NOSIGNAL);
        if (sent > 0)
            buffer_drop(&session->output, (size_t)sent);
        else if (sent < 0 && would_block())
            return;
        else
            session->broken = true;
    }
}

static void receive(struct session *session)
{
    ssize_t got = recv(session->fd, buffer_room(&session->input, RECEIVE_BYTES), RECEIVE_BYTES, 0);
    if (got > 0)
        session->input.len += (size_t)got;
    else if (got == 0)
        session->ended = true;
    else if (!would_block())
        session->broken = true;
}

static void refuse(struct session *session, const char *fault)
{
    buffer_add_text(&session->output, fault);
    buffer_free(&session->input);
    session->ended = true;
}

/* Runs the next chunk; false when there is none, or answers have to go first. */
static bool run_next(struct session *session)
{
    struct buffer *input = &session->input;
    char *found;
    while (session->output.len <= PAUSE_BYTES && session->searched < input->len &&
           (found = memchr(input->bytes + session->searched, '\n', input->len - session->searched)) != NULL) {
        size_t len = (size_t)(found - input->bytes) + 1;
        session->searched = len;
        if (len <= MAX_CHUNK_BYTES && scripts_run(input->bytes, len, &session->output)) {
            buffer_drop(input, len);
            session->searched = session->lines = 0;
            return true;
        }
        /* Each try compiles everything from the beginning. */
        if (++session->lines > MAX_LINES) {
            refuse(session, "! a chunk has more than 1,000 lines\n");
            return false;
        }
    }
    if (session->searched == input->len && input->len > MAX_CHUNK_BYTES)
        refuse(session, "! a chunk is longer than 64 KiB\n");
    return false;
}

static void serve(struct session *session)
{
    do {
        while (!session->broken && run_next(session))
            ;
        send_pending(session);
    } while (!session->broken && session->output.len == 0 && run_next(session));
}

static void accept_one(int listener)
{
    int on = 1;
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    if (fd < 0)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    sessions[used++] = (struct session){.fd = fd};
}

static void forget(size_t at)
{
    buffer_free(&sessions[at].input);
    buffer_free(&sessions[at].output);
    close(sessions[at].fd);
    sessions[at] = sessions[--used];
}

static _Noreturn void run(int listener)
{
    for (;;) {
        polled[0] = (struct pollfd){.fd = used < MAX_SESSIONS ? listener : -1, .events = POLLIN};
        for (size_t i = 0; i < used; i++)
            polled[i + 1] = (struct pollfd){.fd = sessions[i].fd, .events = sessions[i].output.len > 0 ? POLLOUT : POLLIN};
        if (poll(polled, used + 1, -1) < 0 && errno != EINTR) {
            perror("lua-server: poll");
            exit(1);
        }
        /* From the end, so that the session which takes a forgotten one's place has been served already. */
        for (size_t i = used; i-- > 0;) {
            if (polled[i + 1].revents == 0)
                continue;
            send_pending(&sessions[i]);
            if (sessions[i].output.len == 0 && !sessions[i].broken)
                receive(&sessions[i]);
            serve(&sessions[i]);
            if (sessions[i].broken || (sessions[i].ended && sessions[i].output.len == 0))
                forget(i);
        }
        if (polled[0].revents != 0)
            accept_one(listener);
    }
}

int main(int argc, char **argv)
{
    const char *host = "0.0.0.0", *scripts = "/scripts";
    int port = 5434;
    for (int i = 1; i < argc; i += 2) {
        char *end;
        if (i + 1 == argc)
            usage("no value for", argv[i]);
        if (strcmp(argv[i], "--host") == 0) {
            host = argv[i + 1];
        } else if (strcmp(argv[i], "--scripts") == 0) {
            scripts = argv[i + 1];
        } else if (strcmp(argv[i], "--port") == 0) {
            long number = strtol(argv[i + 1], &end, 10);
            if (argv[i + 1][0] < '0' || argv[i + 1][0] > '9' || *end != '\0' || number > 65535)
                usage("not a port:", argv[i + 1]);
            port = (int)number;
        } else {
            usage("unknown option", argv[i]);
        }
    }
    signal(SIGPIPE, SIG_IGN);
    scripts_start(scripts);
    run(open_listener(host, port));
}
