/* See http.h. Imports and export by the names and layouts of the canonical ABI of the component model, as
 * wasi:http 0.2.12 and wasi:io 0.2.12 say them; `rctl service build` makes a component of it. */
#include "http.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FROM(module, name) __attribute__((import_module(module "@0.2.12"), import_name(name)))
#define HTTP(name) FROM("wasi:http/types", name)
#define STREAMS(name) FROM("wasi:io/streams", name)

/* What comes back in memory: a case, and what it has. */
struct handle_result {
    uint8_t failed;
    int handle;
};
struct string {
    char *bytes;
    size_t size;
};
struct optional_string {
    uint8_t there;
    struct string value;
};
struct method {
    uint8_t which;
    struct string other;
};
struct strings {
    struct string *items;
    size_t count;
};
struct stream_error {
    uint8_t closed;
    int error;
};
struct read_result {
    uint8_t failed;
    union {
        struct string piece;
        struct stream_error error;
    };
};
struct write_result {
    uint8_t failed;
    struct stream_error error;
};
/* Longer than what it holds: only the first byte is of interest. */
struct other_result {
    uint8_t failed;
    uint64_t rest[7];
};

HTTP("[method]incoming-request.method") void request_method(int self, struct method *result);
HTTP("[method]incoming-request.path-with-query") void request_target(int self, struct optional_string *result);
HTTP("[method]incoming-request.headers") int request_headers(int self);
HTTP("[method]incoming-request.consume") void request_consume(int self, struct handle_result *result);
HTTP("[resource-drop]incoming-request") void request_drop(int self);
HTTP("[method]incoming-body.stream") void incoming_stream(int self, struct handle_result *result);
HTTP("[resource-drop]incoming-body") void incoming_drop(int self);
HTTP("[constructor]fields") int fields_new(void);
HTTP("[method]fields.get") void fields_get(int self, const char *name, size_t size, struct strings *result);
HTTP("[method]fields.append")
void fields_append(int self, const char *name, size_t size, const char *value, size_t length, struct other_result *result);
HTTP("[resource-drop]fields") void fields_drop(int self);
HTTP("[constructor]outgoing-response") int response_new(int fields);
HTTP("[method]outgoing-response.set-status-code") int response_status(int self, int status);
HTTP("[method]outgoing-response.body") void response_body(int self, struct handle_result *result);
HTTP("[static]response-outparam.set")
void answer_set(int self, int failed, int response, int, uint64_t, int, int, int, int);
HTTP("[method]outgoing-body.write") void outgoing_stream(int self, struct handle_result *result);
HTTP("[static]outgoing-body.finish")
void outgoing_finish(int self, int has_trailers, int trailers, struct other_result *result);
STREAMS("[method]input-stream.blocking-read") void stream_read(int self, uint64_t size, struct read_result *result);
STREAMS("[resource-drop]input-stream") void input_drop(int self);
STREAMS("[method]output-stream.blocking-write-and-flush")
void stream_write(int self, const void *bytes, size_t size, struct write_result *result);
STREAMS("[resource-drop]output-stream") void output_drop(int self);
FROM("wasi:io/error", "[resource-drop]error") void error_drop(int self);

enum { NONE = -1, WRITE_BYTES = 4096 };

/* How the host puts lists and strings into this memory. */
__attribute__((export_name("cabi_realloc"))) void *cabi_realloc(void *old, size_t old_size, size_t align, size_t size)
{
    (void)old_size;
    if (size == 0)
        return (void *)align;
    void *bytes = realloc(old, size);
    if (bytes == NULL)
        abort();
    return bytes;
}

/* The host's strings do not end with a zero byte. */
static const char *ended(struct string string)
{
    char *text = malloc(string.size + 1);
    if (text == NULL)
        abort();
    memcpy(text, string.bytes, string.size);
    text[string.size] = '\0';
    return text;
}

static const char *method_of(int incoming)
{
    static const char *const names[] = {"GET",     "HEAD",    "POST",  "PUT",  "DELETE",
                                        "CONNECT", "OPTIONS", "TRACE", "PATCH"};
    struct method method;
    request_method(incoming, &method);
    if (method.which < sizeof names / sizeof *names)
        return names[method.which];
    return ended(method.other);
}

const char *http_header(struct http_request *request, const char *name)
{
    struct strings values;
    int fields = request_headers(request->incoming);
    fields_get(fields, name, strlen(name), &values);
    fields_drop(fields);
    return values.count == 0 ? NULL : ended(values.items[0]);
}

static bool open_body(struct http_request *request)
{
    struct handle_result result;
    request_consume(request->incoming, &result);
    if (result.failed)
        return false;
    request->body = result.handle;
    incoming_stream(request->body, &result);
    if (result.failed)
        return false;
    request->stream = result.handle;
    return true;
}

/* Whether an error of a stream is only its end. */
static bool is_end(struct stream_error error)
{
    if (!error.closed)
        error_drop(error.error);
    return error.closed;
}

ptrdiff_t http_read(struct http_request *request, void *buffer, size_t size)
{
    if (request->stream == NONE && !open_body(request))
        return -1;
    for (;;) {
        struct read_result result;
        stream_read(request->stream, size, &result);
        if (result.failed)
            return is_end(result.error) ? 0 : -1;
        if (result.piece.size == 0)
            continue;
        memcpy(buffer, result.piece.bytes, result.piece.size);
        free(result.piece.bytes);
        return (ptrdiff_t)result.piece.size;
    }
}

static void append(int fields, const char *name, const char *value)
{
    struct other_result appended;
    fields_append(fields, name, strlen(name), value, strlen(value), &appended);
}

/* The head of an answer with these headers. */
static bool begin(struct http_request *request, int status, int fields)
{
    struct handle_result result;
    int response = response_new(fields);
    response_status(response, status);
    response_body(response, &result);
    request->out_body = result.handle;
    /* The head goes out before the body, else the first piece would wait for ever. */
    answer_set(request->answer, 0, response, 0, 0, 0, 0, 0, 0);
    request->answer = NONE;
    outgoing_stream(request->out_body, &result);
    request->out_stream = result.handle;
    return !result.failed;
}

bool http_begin(struct http_request *request, int status, const char *type)
{
    int fields = fields_new();
    if (type != NULL)
        append(fields, "content-type", type);
    return begin(request, status, fields);
}

bool http_write(struct http_request *request, const void *bytes, size_t size)
{
    const char *at = bytes;
    while (size > 0) {
        size_t now = size < WRITE_BYTES ? size : WRITE_BYTES;
        struct write_result result;
        stream_write(request->out_stream, at, now, &result);
        if (result.failed) {
            is_end(result.error);
            return false;
        }
        at += now;
        size -= now;
    }
    return true;
}

/* Plain text, whose length the head tells, besides these headers. */
static void whole(struct http_request *request, int status, int fields, const char *text)
{
    char length[24];
    snprintf(length, sizeof length, "%zu", strlen(text));
    append(fields, "content-type", "text/plain; charset=utf-8");
    append(fields, "content-length", length);
    if (begin(request, status, fields))
        http_write(request, text, strlen(text));
}

void http_text(struct http_request *request, int status, const char *text)
{
    whole(request, status, fields_new(), text);
}

void http_not_allowed(struct http_request *request, const char *methods)
{
    int fields = fields_new();
    append(fields, "allow", methods);
    whole(request, 405, fields, "405 Method Not Allowed\n");
}

static void finish(struct http_request *request)
{
    struct other_result result;
    if (request->answer != NONE)
        http_text(request, 500, "500 Internal Server Error\n");
    output_drop(request->out_stream);
    outgoing_finish(request->out_body, 0, 0, &result);
    if (request->stream != NONE)
        input_drop(request->stream);
    if (request->body != NONE)
        incoming_drop(request->body);
    request_drop(request->incoming);
}

__attribute__((export_name("wasi:http/incoming-handler@0.2.12#handle"))) void incoming_handler(int incoming, int answer)
{
    struct http_request request = {"", "/", "", incoming, NONE, NONE, answer, NONE, NONE};
    struct optional_string target;
    request.method = method_of(incoming);
    request_target(incoming, &target);
    if (target.there) {
        char *query = strchr(request.path = ended(target.value), '?');
        if (query != NULL) {
            *query = '\0';
            request.query = query + 1;
        }
    }
    handle(&request);
    finish(&request);
}
