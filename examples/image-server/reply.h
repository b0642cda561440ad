/* Heads of answers. They depend on nothing but the request and the file: no date, no validators, so that every copy of
 * the server gives the same bytes. */
#ifndef REPLY_H
#define REPLY_H

#include "request.h"
#include "text.h"

/* How the connection goes on, as far as the answer has to say it. */
struct reply_connection {
    bool http_1_0;
    bool keep_alive;
};

/* The part of a file that answers a request. */
struct part {
    int status; /* 200, 206 or 416 */
    uint64_t first;
    uint64_t end; /* one past the last byte */
};

struct part choose_part(const struct range *range, uint64_t size);

/* Head of an answer with a file or one part of it. */
void add_file_head(struct text *out, const struct part *part, uint64_t size, const char *name,
                   struct reply_connection connection);

/* Head of the gallery page. */
void add_page_head(struct text *out, size_t len, struct reply_connection connection);

/* A whole answer without a file: an empty one below 300, a line of text above. `allow` goes with 405. */
void add_short_reply(struct text *out, int status, const char *allow, bool without_body,
                     struct reply_connection connection);

/* The answer to a range outside the file. */
void add_unsatisfiable(struct text *out, uint64_t size, struct reply_connection connection);

#endif
