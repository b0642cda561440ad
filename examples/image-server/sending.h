/* Sending one answer: a head, then the gallery page or part of a file, or nothing. */
#ifndef SENDING_H
#define SENDING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gallery.h"
#include "text.h"

enum {
    IO_BYTES = 256 * 1024,
    ROUNDS = 8, /* buffers moved for one connection before the others have their turn */
};

/* What became of an attempt. */
enum outcome { DONE, BLOCKED, BROKEN };

/* An answer that is not sent yet. All zero, and `file` -1, when there is none. */
struct sending {
    char *head; /* what of the head could not be sent */
    size_t head_len, head_sent;
    struct page *page; /* the body: a page, or a file, or neither */
    int file;
    uint64_t at, end; /* in the page or the file */
};

/* One buffer for all connections; nothing in it outlives the handling of one descriptor. */
extern char io[IO_BYTES];

/* Whether the last call failed because it would have had to wait. */
bool would_block(void);

/* A buffer for an answer's head; it lies at the beginning of `io`. */
struct text sending_head(void);

/* Sends the head, whose `head_len` bytes are in `io`, and the body that `sending` describes. A small body goes out with
 * the head in one call. */
enum outcome sending_start(struct sending *sending, int fd, size_t head_len);

/* Goes on after BLOCKED, when the socket takes more. */
enum outcome sending_continue(struct sending *sending, int fd);

/* Lets go of all that an answer holds. */
void sending_end(struct sending *sending);

/* Sends bytes that need no answer around them. */
enum outcome send_bytes(int fd, const char *bytes, size_t len, size_t *sent);

#endif
