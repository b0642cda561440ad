/* Parsing RESP2 requests in place: arrays of bulk strings and inline commands. */
#ifndef RESP_H
#define RESP_H

#include <stddef.h>

#include "slice.h"

enum {
    MAX_ARGUMENTS = 64 * 1024,
    MAX_BULK = 16 * 1024 * 1024,    /* one argument, in bytes */
    MAX_REQUEST = 32 * 1024 * 1024, /* one request, in bytes */
    MAX_LINE = 64 * 1024,           /* an inline command, or a line with a length */
};

/* How far an incomplete request has been looked at, so that the next look goes on from there. */
struct resp_progress {
    size_t offset;
    long arguments_left; /* 0 before the array's length is known */
};

enum resp_result { RESP_COMPLETE, RESP_INCOMPLETE, RESP_FAULT };

struct resp_request {
    struct slice *arguments; /* good until the next parse */
    size_t count;            /* may be 0: nothing to do */
    size_t used;             /* bytes of the input */
    const char *fault;       /* without "ERR Protocol error: " */
};

/* Parses one request at the beginning of `bytes`, which inline commands change in place. */
enum resp_result resp_parse(struct resp_progress *progress, char *bytes, size_t len, struct resp_request *out);

#endif
