/* One client's connection. See client.h. */
#include "client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "commands.h"

enum {
    INPUT_BYTES = 256 * 1024,
    OUTPUT_BYTES = 256 * 1024,
    FIRST_CAPACITY = 32 * 1024, /* of what is kept */
    RECEIVE_LEAST = 16 * 1024,  /* room made for a read behind an incomplete request */
};

/* Shared by all clients; empty between two calls of client_ready. */
static char input[INPUT_BYTES];
static char output[OUTPUT_BYTES];
static size_t output_len;
static size_t kept_bytes;

void client_start(struct client *client, int fd)
{
    memset(client, 0, sizeof *client);
    client->fd = fd;
}

/* ---- what is kept ---- */

static void forget(struct kept *kept)
{
    if (kept->capacity == 0)
        return;
    kept_bytes -= kept->capacity;
    free(kept->bytes);
    *kept = (struct kept){NULL, 0, 0};
}

/* Makes room for `more` bytes behind those that are kept. */
static bool reserve(struct kept *kept, size_t more)
{
    size_t grown = kept->capacity == 0 ? FIRST_CAPACITY : kept->capacity;
    char *larger;
    if (kept->capacity - kept->len >= more)
        return true;
    while (grown - kept->len < more)
        grown *= 2;
    if (grown - kept->capacity > MAX_KEPT_BYTES - kept_bytes)
        return false;
    larger = realloc(kept->bytes, grown);
    if (larger == NULL)
        return false;
    kept_bytes += grown - kept->capacity;
    kept->bytes = larger;
    kept->capacity = grown;
    return true;
}

static bool keep(struct kept *kept, const char *bytes, size_t len)
{
    if (!reserve(kept, len))
        return false;
    memcpy(kept->bytes + kept->len, bytes, len);
    kept->len += len;
    return true;
}

void client_end(struct client *client)
{
    forget(&client->input);
    forget(&client->pending);
    close(client->fd);
}

/* ---- replies ---- */

static bool would_block(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

/* Sends what the socket takes; the number of bytes. A broken connection takes everything. */
static size_t send_some(struct client *client, const char *bytes, size_t len)
{
    ssize_t sent = send(client->fd, bytes, len, MSG_NOSIGNAL);
    if (sent >= 0)
        return (size_t)sent;
    if (would_block())
        return 0;
    client->broken = true;
    return len;
}

static void send_pending(struct client *client)
{
    client->pending_sent += send_some(client, client->pending.bytes + client->pending_sent,
                                      client->pending.len - client->pending_sent);
    if (client->pending_sent == client->pending.len) {
        forget(&client->pending);
        client->pending_sent = 0;
    }
}

/* Hands the shared buffer to the socket, and keeps what that does not take. */
static void flush(struct client *client)
{
    size_t sent = 0;
    if (output_len > 0 && !client->broken) {
        if (client->pending.len == 0)
            sent = send_some(client, output, output_len);
        if (client->pending.len + output_len - sent > MAX_PENDING ||
            (sent < output_len && !keep(&client->pending, output + sent, output_len - sent)))
            client->broken = true;
    }
    output_len = 0;
}

void reply_bytes(struct client *client, const char *bytes, size_t len)
{
    while (len > OUTPUT_BYTES - output_len) {
        size_t part = OUTPUT_BYTES - output_len;
        memcpy(output + output_len, bytes, part);
        output_len = OUTPUT_BYTES;
        bytes += part;
        len -= part;
        flush(client);
    }
    memcpy(output + output_len, bytes, len);
    output_len += len;
}

static void reply_line(struct client *client, char kind, const char *text)
{
    reply_bytes(client, &kind, 1);
    reply_bytes(client, text, strlen(text));
    reply_bytes(client, "\r\n", 2);
}

void reply_status(struct client *client, const char *text)
{
    reply_line(client, '+', text);
}

void reply_error(struct client *client, const char *text)
{
    reply_line(client, '-', text);
}

static void reply_number(struct client *client, char kind, int64_t value)
{
    char text[24];
    size_t at = sizeof text;
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    text[--at] = '\n';
    text[--at] = '\r';
    do {
        text[--at] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest != 0);
    if (value < 0)
        text[--at] = '-';
    text[--at] = kind;
    reply_bytes(client, text + at, sizeof text - at);
}

void reply_integer(struct client *client, int64_t value)
{
    reply_number(client, ':', value);
}

void reply_array(struct client *client, size_t len)
{
    reply_number(client, '*', (int64_t)len);
}

void reply_bulk(struct client *client, struct slice bytes)
{
    reply_number(client, '$', (int64_t)bytes.len);
    reply_bytes(client, bytes.at, bytes.len);
    reply_bytes(client, "\r\n", 2);
}

void reply_nil(struct client *client)
{
    reply_bytes(client, "$-1\r\n", 5);
}

/* ---- requests ---- */

static void refuse(struct client *client, const char *fault)
{
    static const char prefix[] = "-ERR Protocol error: ";
    reply_bytes(client, prefix, sizeof prefix - 1);
    reply_bytes(client, fault, strlen(fault));
    reply_bytes(client, "\r\n", 2);
    client->closing = true;
}

/* Executes complete requests until none is left or too many replies wait; returns the bytes used. */
static size_t execute_all(struct client *client, char *bytes, size_t len)
{
    size_t at = 0;
    while (!client->closing && !client->broken && client->pending.len <= PENDING_PAUSE) {
        struct resp_request request;
        enum resp_result result = resp_parse(&client->progress, bytes + at, len - at, &request);
        if (result == RESP_INCOMPLETE)
            break;
        if (result == RESP_FAULT) {
            refuse(client, request.fault);
            break;
        }
        if (request.count > 0)
            command_execute(client, request.arguments, request.count);
        at += request.used;
    }
    flush(client);
    return at;
}

/* Executes what is kept. */
static void execute_kept(struct client *client)
{
    size_t used = execute_all(client, client->input.bytes, client->input.len);
    client->input.len -= used;
    if (client->input.len == 0)
        forget(&client->input);
    else if (used > 0)
        memmove(client->input.bytes, client->input.bytes + used, client->input.len);
}

static void received(struct client *client, ssize_t got)
{
    if (got == 0)
        client->ended = true;
    else if (got < 0 && !would_block())
        client->broken = true;
}

static void receive(struct client *client)
{
    ssize_t got;
    if (client->input.len > 0) {
        if (!reserve(&client->input, RECEIVE_LEAST)) {
            client->broken = true;
            return;
        }
        got = recv(client->fd, client->input.bytes + client->input.len, client->input.capacity - client->input.len, 0);
        received(client, got);
        if (got > 0) {
            client->input.len += (size_t)got;
            execute_kept(client);
        }
        return;
    }
    got = recv(client->fd, input, sizeof input, 0);
    received(client, got);
    if (got > 0) {
        size_t used = execute_all(client, input, (size_t)got);
        if (used < (size_t)got && !client->closing && !keep(&client->input, input + used, (size_t)got - used))
            client->broken = true;
    }
}

bool client_wants_to_send(const struct client *client)
{
    return client->pending.len > 0;
}

bool client_ready(struct client *client)
{
    if (client->pending.len > 0) {
        send_pending(client);
        if (client->pending.len == 0 && client->input.len > 0)
            execute_kept(client);
    } else {
        receive(client);
    }
    if (client->broken)
        return false;
    return client->pending.len > 0 || !(client->closing || client->ended);
}
