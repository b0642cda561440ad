/* One client's connection: requests in, answers out, one after the other.
 *
 * Memory: an idle connection holds this structure alone. At most MAX_HEAD bytes that cannot be used yet are kept, and
 * at most one answer's head. While an answer cannot be sent, nothing is read. Bodies go through one shared buffer
 * straight between socket and file. */
#ifndef CONNECTION_H
#define CONNECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "receiving.h"
#include "sending.h"

enum phase {
    PHASE_HEAD,   /* between requests, or in a request's head */
    PHASE_BODY,   /* in an upload's body */
    PHASE_REPLY,  /* an answer is not sent yet */
    PHASE_LINGER, /* the last answer is sent; what still comes is thrown away, so that no reset destroys it */
};

struct connection {
    int fd;
    enum phase phase;
    bool keep_alive; /* after the answer in progress */
    bool linger;     /* the request's body was not read */
    char *held;      /* bytes received that wait for more, or for the answer in progress */
    size_t held_len;
    struct receiving *receiving;
    struct sending sending;
    uint64_t linger_left;
};

void connection_start(struct connection *connection, int fd);

/* To be called when poll reports the descriptor. Returns false when the connection is over. */
bool connection_ready(struct connection *connection);

/* Frees and closes everything. */
void connection_end(struct connection *connection);

#endif
