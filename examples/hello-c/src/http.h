/* HTTP requests and answers over wasi:http 0.2: a service defines `handle` and is called with each request. Bodies go
 * through in pieces, in whatever memory the service gives: one of any length fits. */
#ifndef HTTP_H
#define HTTP_H

#include <stdbool.h>
#include <stddef.h>

struct http_request {
    const char *method;
    /* Up to the question mark. */
    const char *path;
    /* After it; empty if there is none. */
    const char *query;
    /* The host's. */
    int incoming, body, stream, answer, out_body, out_stream;
};

/* The service's own: answers one request. What it does not answer gets 500. */
void handle(struct http_request *request);

/* The first header of this name, or NULL. Lives as long as the request. */
const char *http_header(struct http_request *request, const char *name);

/* The next bytes of the request's body, at least one and at most `size`; 0 at the end, -1 when it broke off. */
ptrdiff_t http_read(struct http_request *request, void *buffer, size_t size);

/* Sends the head of the answer; `type` may be NULL. Once in a request, before the first `http_write`. */
bool http_begin(struct http_request *request, int status, const char *type);

/* Sends a piece of the body, and waits until the host has taken it; false when the client is gone. */
bool http_write(struct http_request *request, const void *bytes, size_t size);

/* The whole of an answer: plain text. */
void http_text(struct http_request *request, int status, const char *text);

/* The whole of an answer to a method that is none of these: 405. */
void http_not_allowed(struct http_request *request, const char *methods);

#endif
