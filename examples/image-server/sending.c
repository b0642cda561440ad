/* Sending one answer. See sending.h. */
#define _GNU_SOURCE /* pread, MSG_NOSIGNAL */
#include "sending.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_REPLY_HEAD = 1024 };

char io[IO_BYTES];

bool would_block(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

struct text sending_head(void)
{
    return (struct text){io, 0, MAX_REPLY_HEAD, false};
}

enum outcome send_bytes(int fd, const char *bytes, size_t len, size_t *sent)
{
    ssize_t result = send(fd, bytes, len, MSG_NOSIGNAL);
    *sent = result < 0 ? 0 : (size_t)result;
    if (result < 0)
        return would_block() ? BLOCKED : BROKEN;
    return *sent == len ? DONE : BLOCKED;
}

void sending_end(struct sending *sending)
{
    free(sending->head);
    if (sending->page != NULL)
        gallery_release(sending->page);
    if (sending->file >= 0)
        close(sending->file);
    *sending = (struct sending){.file = -1};
}

/* Reads the file's next bytes to follow `filled` bytes in the shared buffer; the number read, 0 when it has shrunk. */
static size_t fill_from_file(struct sending *sending, size_t filled)
{
    uint64_t left = sending->end - sending->at;
    size_t wanted = left < IO_BYTES - filled ? (size_t)left : IO_BYTES - filled;
    ssize_t got = pread(sending->file, io + filled, wanted, (off_t)sending->at);
    return got < 0 ? 0 : (size_t)got;
}

static enum outcome send_file(struct sending *sending, int fd)
{
    for (int round = 0; sending->at < sending->end; round++) {
        size_t filled, sent;
        enum outcome outcome;
        if (round == ROUNDS)
            return BLOCKED;
        filled = fill_from_file(sending, 0);
        if (filled == 0)
            return BROKEN;
        outcome = send_bytes(fd, io, filled, &sent);
        sending->at += sent;
        if (outcome != DONE)
            return outcome;
    }
    return DONE;
}

static enum outcome send_page(struct sending *sending, int fd)
{
    size_t sent;
    enum outcome outcome =
        send_bytes(fd, sending->page->bytes + sending->at, (size_t)(sending->end - sending->at), &sent);
    sending->at += sent;
    return outcome;
}

enum outcome sending_continue(struct sending *sending, int fd)
{
    enum outcome outcome = DONE;
    if (sending->head != NULL) {
        size_t sent;
        outcome = send_bytes(fd, sending->head + sending->head_sent, sending->head_len - sending->head_sent, &sent);
        sending->head_sent += sent;
        if (outcome != DONE)
            return outcome;
        free(sending->head);
        sending->head = NULL;
    }
    if (sending->at < sending->end)
        outcome = sending->page != NULL ? send_page(sending, fd) : send_file(sending, fd);
    if (outcome == DONE)
        sending_end(sending);
    return outcome;
}

static enum outcome keep_head(struct sending *sending, const char *bytes, size_t len)
{
    sending->head = malloc(len);
    if (sending->head == NULL)
        return BROKEN;
    memcpy(sending->head, bytes, len);
    sending->head_len = len;
    sending->head_sent = 0;
    return BLOCKED;
}

enum outcome sending_start(struct sending *sending, int fd, size_t head_len)
{
    size_t len = head_len, sent;
    enum outcome outcome;
    if (sending->page != NULL) {
        uint64_t left = sending->end - sending->at;
        size_t body = left < IO_BYTES - len ? (size_t)left : IO_BYTES - len;
        memcpy(io + len, sending->page->bytes + sending->at, body);
        len += body;
    } else if (sending->at < sending->end) {
        size_t body = fill_from_file(sending, len);
        if (body == 0)
            return BROKEN;
        len += body;
    }
    outcome = send_bytes(fd, io, len, &sent);
    if (outcome == BROKEN)
        return BROKEN;
    if (sent < head_len)
        return keep_head(sending, io + sent, head_len - sent);
    sending->at += sent - head_len;
    return outcome == BLOCKED ? BLOCKED : sending_continue(sending, fd);
}
