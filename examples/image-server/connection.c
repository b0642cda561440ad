/* One client's connection. See connection.h. */
#include "connection.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "reply.h"
#include "text.h"

/* Thrown away after an early answer before the connection is closed. */
enum { LINGER_BYTES = 16 * 1024 * 1024 };

/* Shared by all connections, like `io`; nothing in it outlives one call of connection_ready. */
static char input[MAX_HEAD];

void connection_start(struct connection *connection, int fd)
{
    memset(connection, 0, sizeof *connection);
    connection->fd = fd;
    connection->sending.file = -1;
    connection->keep_alive = true;
}

void connection_end(struct connection *connection)
{
    if (connection->receiving != NULL)
        receiving_abort(connection->receiving);
    sending_end(&connection->sending);
    free(connection->held);
    close(connection->fd);
}

/* Keeps bytes for later; they may lie in the held buffer itself. */
static bool hold(struct connection *connection, const char *bytes, size_t len)
{
    if (len == 0) {
        free(connection->held);
        connection->held = NULL;
    } else {
        if (connection->held == NULL)
            connection->held = malloc(MAX_HEAD);
        if (connection->held == NULL)
            return false;
        memmove(connection->held, bytes, len);
    }
    connection->held_len = len;
    return true;
}

/* ---- requests ---- */

static enum outcome reply(struct connection *connection, size_t head_len)
{
    connection->phase = PHASE_REPLY;
    return sending_start(&connection->sending, connection->fd, head_len);
}

static enum outcome short_reply(struct connection *connection, const struct request *request, int status,
                                const char *allow)
{
    struct text text = sending_head();
    struct reply_connection how = {request->http_1_0, connection->keep_alive};
    add_short_reply(&text, status, allow, request->method == METHOD_HEAD, how);
    return reply(connection, text.len);
}

static enum outcome refuse(struct connection *connection, int status)
{
    struct request request = {.method = METHOD_GET};
    connection->keep_alive = false;
    connection->linger = true;
    return short_reply(connection, &request, status, NULL);
}

static enum outcome serve_page(struct connection *connection, const struct request *request)
{
    struct text text = sending_head();
    struct reply_connection how = {request->http_1_0, connection->keep_alive};
    struct page *page = gallery_hold();
    if (page == NULL)
        return short_reply(connection, request, 503, NULL);
    add_page_head(&text, page->len, how);
    if (request->method == METHOD_HEAD) {
        gallery_release(page);
    } else {
        connection->sending.page = page;
        connection->sending.at = 0;
        connection->sending.end = page->len;
    }
    return reply(connection, text.len);
}

static enum outcome serve_file(struct connection *connection, const struct request *request)
{
    static const struct range whole = {RANGE_NONE, 0, 0};
    struct text text = sending_head();
    struct reply_connection how = {request->http_1_0, connection->keep_alive};
    bool head_only = request->method == METHOD_HEAD;
    uint64_t size;
    struct part part;
    int file = store_read(request->name, &size);
    if (file < 0)
        return short_reply(connection, request, errno == ENOENT || errno == ELOOP ? 404 : 500, NULL);
    part = choose_part(head_only ? &whole : &request->range, size);
    if (part.status == 416)
        add_unsatisfiable(&text, size, how);
    else
        add_file_head(&text, &part, size, request->name, how);
    if (head_only || part.status == 416) {
        close(file);
    } else {
        connection->sending.file = file;
        connection->sending.at = part.first;
        connection->sending.end = part.end;
    }
    return reply(connection, text.len);
}

static enum outcome begin_upload(struct connection *connection, const struct request *request)
{
    int status = receiving_begin(request, &connection->receiving);
    if (status == 0) {
        connection->phase = PHASE_BODY;
        return DONE;
    }
    connection->linger = request->body != BODY_NONE;
    connection->keep_alive &= !connection->linger;
    return short_reply(connection, request, status, NULL);
}

static enum outcome remove_file(struct connection *connection, const struct request *request)
{
    int error = store_remove(request->name);
    int status = error == 0 ? 204 : error == ENOENT ? 404 : 500;
    return short_reply(connection, request, status, NULL);
}

/* Answers a request, or begins to take an upload. */
static enum outcome serve(struct connection *connection, const struct request *request)
{
    bool reads = request->method == METHOD_GET || request->method == METHOD_HEAD;
    bool uploads = request->method == METHOD_PUT && !request->is_root && !request->name_is_bad;
    connection->keep_alive = request->keep_alive;
    connection->linger = false;
    /* The body of any other request is not wanted: answer, and close instead of reading it. */
    if (!uploads && request->body != BODY_NONE && !(request->body == BODY_LENGTH && request->body_len == 0)) {
        connection->keep_alive = false;
        connection->linger = true;
    }
    if (request->method == METHOD_OTHER)
        return short_reply(connection, request, 405, request->is_root ? "GET, HEAD" : "GET, HEAD, PUT, DELETE");
    if (request->name_is_bad)
        return short_reply(connection, request, 400, NULL);
    if (request->is_root)
        return reads ? serve_page(connection, request) : short_reply(connection, request, 405, "GET, HEAD");
    if (reads)
        return serve_file(connection, request);
    if (request->method == METHOD_PUT)
        return begin_upload(connection, request);
    return remove_file(connection, request);
}

/* ---- bodies ---- */

/* Ends an upload: with the status of its failure, or by giving the complete file its name. */
static enum outcome end_upload(struct connection *connection, int status)
{
    struct request request = {.method = METHOD_PUT, .http_1_0 = connection->receiving->http_1_0};
    if (status == 0) {
        status = receiving_commit(connection->receiving);
    } else {
        receiving_abort(connection->receiving);
        connection->keep_alive = false;
        connection->linger = true;
    }
    connection->receiving = NULL;
    return short_reply(connection, &request, status, NULL);
}

/* Takes what belongs to the body from `bytes`. */
static enum outcome take_body(struct connection *connection, const char *bytes, size_t len, size_t *used)
{
    int status = receiving_take(connection->receiving, bytes, len, used);
    if (status != 0 || receiving_complete(connection->receiving))
        return end_upload(connection, status);
    return DONE;
}

/* Moves data from the socket to the file by whole buffers, for as long as nothing but data can come. DONE when the
 * answer is sent, or when framing has to be read. */
static enum outcome receive_data(struct connection *connection)
{
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t data = receiving_data_left(connection->receiving);
        size_t wanted = data < IO_BYTES ? (size_t)data : IO_BYTES, used;
        ssize_t got;
        enum outcome outcome;
        if (wanted == 0)
            return DONE;
        got = recv(connection->fd, io, wanted, 0);
        if (got < 0)
            return would_block() ? BLOCKED : BROKEN;
        if (got == 0)
            return BROKEN;
        outcome = take_body(connection, io, (size_t)got, &used);
        if (connection->phase != PHASE_BODY)
            return outcome;
        if ((size_t)got < wanted)
            return BLOCKED;
    }
    return BLOCKED;
}

/* ---- the course of a connection ---- */

/* After an answer was sent: on to the next request, to lingering, or to the end. */
static enum outcome after_reply(struct connection *connection)
{
    if (connection->keep_alive) {
        connection->phase = PHASE_HEAD;
        return DONE;
    }
    if (!connection->linger || shutdown(connection->fd, SHUT_WR) != 0)
        return BROKEN;
    connection->phase = PHASE_LINGER;
    connection->linger_left = LINGER_BYTES;
    return DONE;
}

/* Takes one request's head off `bytes`. `*used` is 0 when it is not complete. */
static enum outcome take_head(struct connection *connection, const char *bytes, size_t len, size_t *used)
{
    struct request request;
    size_t skipped;
    ptrdiff_t head = head_length(bytes, len, &skipped);
    int status;
    enum outcome outcome;
    *used = 0;
    if (head < 0)
        return refuse(connection, 400);
    if (head == 0)
        return len == MAX_HEAD ? refuse(connection, 431) : DONE;
    *used = (size_t)head;
    status = parse_head(bytes + skipped, *used - skipped, &request);
    if (status != 0)
        return refuse(connection, status);
    outcome = serve(connection, &request);
    if (outcome == DONE && connection->phase == PHASE_BODY && request.expects_continue && *used == len) {
        size_t sent;
        outcome = send_bytes(connection->fd, "HTTP/1.1 100 Continue\r\n\r\n", 25, &sent);
        /* A client that cannot take 25 bytes has not read its earlier answers. */
        outcome = outcome == DONE ? DONE : BROKEN;
    }
    return outcome;
}

/* Uses up `bytes` as far as possible and holds the rest. */
static enum outcome take(struct connection *connection, const char *bytes, size_t len)
{
    size_t at = 0;
    enum outcome outcome = DONE;
    while (outcome == DONE && connection->phase != PHASE_LINGER) {
        size_t used = 0;
        if (connection->phase == PHASE_REPLY) {
            outcome = after_reply(connection);
            continue;
        }
        if (connection->phase == PHASE_HEAD)
            outcome = take_head(connection, bytes + at, len - at, &used);
        else
            outcome = take_body(connection, bytes + at, len - at, &used);
        at += used;
        if (outcome == DONE && used == 0 && connection->phase != PHASE_REPLY)
            break;
    }
    if (outcome == BROKEN)
        return BROKEN;
    if (connection->phase == PHASE_LINGER)
        at = len;
    return hold(connection, bytes + at, len - at) ? DONE : BROKEN;
}

static enum outcome receive(struct connection *connection)
{
    ssize_t got;
    if (connection->held_len > 0)
        memcpy(input, connection->held, connection->held_len);
    got = recv(connection->fd, input + connection->held_len, MAX_HEAD - connection->held_len, 0);
    if (got < 0)
        return would_block() ? DONE : BROKEN;
    if (got == 0)
        return BROKEN;
    return take(connection, input, connection->held_len + (size_t)got);
}

static enum outcome receive_body(struct connection *connection)
{
    enum outcome outcome = DONE;
    if (connection->held_len == 0)
        outcome = receive_data(connection);
    if (outcome == BROKEN)
        return BROKEN;
    if (connection->phase == PHASE_REPLY)
        return outcome == DONE ? take(connection, input, 0) : DONE;
    return outcome == DONE ? receive(connection) : DONE;
}

static enum outcome throw_away(struct connection *connection)
{
    ssize_t got = recv(connection->fd, io, IO_BYTES, 0);
    if (got < 0)
        return would_block() ? DONE : BROKEN;
    if (got == 0 || (uint64_t)got >= connection->linger_left)
        return BROKEN;
    connection->linger_left -= (uint64_t)got;
    return DONE;
}

bool connection_ready(struct connection *connection)
{
    enum outcome outcome = DONE;
    switch (connection->phase) {
    case PHASE_HEAD:
        outcome = receive(connection);
        break;
    case PHASE_BODY:
        outcome = receive_body(connection);
        break;
    case PHASE_REPLY:
        outcome = sending_continue(&connection->sending, connection->fd);
        if (outcome == DONE) {
            if (connection->held_len > 0)
                memcpy(input, connection->held, connection->held_len);
            outcome = take(connection, input, connection->held_len);
        }
        break;
    case PHASE_LINGER:
        outcome = throw_away(connection);
        break;
    }
    return outcome != BROKEN;
}
