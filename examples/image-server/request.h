/* Parsing the head of an HTTP/1.x request (RFC 9112). Pure: bytes in, a request or a status code out. */
#ifndef REQUEST_H
#define REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MAX_HEAD = 8192, /* request line and headers, in bytes; a larger head gets 431 */
    MAX_NAME = 200,  /* a file's name after percent-decoding, in bytes */
};

enum method { METHOD_GET, METHOD_HEAD, METHOD_PUT, METHOD_DELETE, METHOD_OTHER };

enum body { BODY_NONE, BODY_LENGTH, BODY_CHUNKED };

/* A Range header as far as it is understood: one range of bytes. */
struct range {
    enum { RANGE_NONE, RANGE_FROM_TO, RANGE_FROM, RANGE_SUFFIX } kind;
    uint64_t first; /* or the length of the suffix */
    uint64_t last;
};

struct request {
    enum method method;
    enum body body;
    uint64_t body_len;
    bool http_1_0;
    bool keep_alive;
    bool expects_continue;
    bool has_content_range;
    struct range range;
    bool is_root;            /* the target is "/" */
    bool name_is_bad;        /* the target is no name that a file may have here */
    char name[MAX_NAME + 1]; /* otherwise the name */
};

/* Looks for the end of the head in `bytes`. Returns its length with the empty line, 0 when it is not there yet, or
 * -1 when a line ends in a bare LF or holds a control character. `*skipped` is the number of empty lines' bytes
 * before the request line, which are allowed and are part of the returned length. */
ptrdiff_t head_length(const char *bytes, size_t len, size_t *skipped);

/* Parses a complete head. Returns 0, or the status code to refuse it with. */
int parse_head(const char *head, size_t len, struct request *out);

#endif
