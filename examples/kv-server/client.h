/* One client's connection: requests in, replies out, in order.
 *
 * Memory: an idle client holds this structure alone. Requests are parsed where they were received; only what is
 * incomplete is kept. Replies to all requests of one read go out in one send; only what the socket does not take is
 * kept, and while there is any of it nothing is read, and nothing is executed once it passes PENDING_PAUSE. What all
 * clients keep together stays within MAX_KEPT_BYTES: who asks for more is disconnected. */
#ifndef CLIENT_H
#define CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "resp.h"
#include "slice.h"

enum {
    PENDING_PAUSE = 256 * 1024,
    MAX_PENDING = 64 * 1024 * 1024,
    MAX_KEPT_BYTES = 96 * 1024 * 1024,
};

/* Bytes kept for later. */
struct kept {
    char *bytes;
    size_t len;
    size_t capacity;
};

struct client {
    int fd;
    bool ended;   /* has sent its last byte */
    bool closing; /* gets what is pending and is disconnected */
    bool broken;  /* is disconnected at once */
    struct kept input;
    struct resp_progress progress;
    struct kept pending;
    size_t pending_sent;
};

void client_start(struct client *client, int fd);

/* To be called when poll reports the descriptor. Returns false when the connection is over. */
bool client_ready(struct client *client);

/* Whether poll should wait until the socket takes more, instead of until it has more. */
bool client_wants_to_send(const struct client *client);

void client_end(struct client *client);

/* Adds to the reply. */
void reply_bytes(struct client *client, const char *bytes, size_t len);
void reply_status(struct client *client, const char *text);
void reply_error(struct client *client, const char *text);
void reply_integer(struct client *client, int64_t value);
void reply_bulk(struct client *client, struct slice bytes);
void reply_nil(struct client *client);
void reply_array(struct client *client, size_t len);

#endif
