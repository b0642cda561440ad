/* One client: what it has sent and is not executed yet, and what it is still to be sent. */
#ifndef SESSION_H
#define SESSION_H

#include <stdbool.h>

#include "buffer.h"

struct session {
    int fd;
    bool ended;  /* it has sent its last byte */
    bool broken; /* it is disconnected at once */
    struct buffer input;
    size_t executed; /* what is before is done */
    size_t searched; /* no statement ends before */
    unsigned tries;  /* how often one was looked for behind `executed` in vain */
    struct buffer output;
    size_t sent;
};

void session_start(struct session *session, int fd);
void session_end(struct session *session);

/* Reads what there is. */
void session_receive(struct session *session);
/* Writes what the socket takes. */
void session_send(struct session *session);
/* Whether it may be read from: neither answers nor statements wait that must go first. */
bool session_takes_more(const struct session *session);
/* Executes the next whole statements, those of one line; false when there are none. */
bool session_execute(struct session *session);
/* Whether nothing is left to do for it. */
bool session_is_over(const struct session *session);

#endif
