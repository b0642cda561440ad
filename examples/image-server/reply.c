/* Heads of answers. See reply.h. */
#include "reply.h"

#include "name.h"

static const char *reason(int status)
{
    static const struct {
        int status;
        const char *reason;
    } reasons[] = {
        {200, "OK"},
        {201, "Created"},
        {204, "No Content"},
        {206, "Partial Content"},
        {400, "Bad Request"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {411, "Length Required"},
        {413, "Content Too Large"},
        {416, "Range Not Satisfiable"},
        {417, "Expectation Failed"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {505, "HTTP Version Not Supported"},
        {507, "Insufficient Storage"},
    };
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        if (reasons[i].status == status)
            return reasons[i].reason;
    }
    return "Error";
}

struct part choose_part(const struct range *range, uint64_t size)
{
    struct part whole = {200, 0, size};
    struct part none = {416, 0, 0};
    switch (range->kind) {
    case RANGE_NONE:
        return whole;
    case RANGE_SUFFIX:
        if (range->first == 0 || size == 0)
            return none;
        return (struct part){206, range->first < size ? size - range->first : 0, size};
    case RANGE_FROM:
        return range->first < size ? (struct part){206, range->first, size} : none;
    case RANGE_FROM_TO:
        if (range->first >= size)
            return none;
        return (struct part){206, range->first, range->last < size ? range->last + 1 : size};
    }
    return whole;
}

static void add_status(struct text *out, int status)
{
    add(out, "HTTP/1.1 ");
    add_number(out, (uint64_t)status);
    add(out, " ");
    add(out, reason(status));
    add(out, "\r\n");
}

static void add_length(struct text *out, uint64_t len)
{
    add(out, "Content-Length: ");
    add_number(out, len);
    add(out, "\r\n");
}

static void add_end(struct text *out, struct reply_connection connection)
{
    if (!connection.keep_alive)
        add(out, "Connection: close\r\n");
    else if (connection.http_1_0)
        add(out, "Connection: keep-alive\r\n");
    add(out, "\r\n");
}

void add_file_head(struct text *out, const struct part *part, uint64_t size, const char *name,
                   struct reply_connection connection)
{
    const char *type = content_type(name);
    add_status(out, part->status);
    add(out, "Content-Type: ");
    add(out, type);
    add(out, "\r\nX-Content-Type-Options: nosniff\r\nAccept-Ranges: bytes\r\n");
    /* What a client uploaded must not run as a script of this site. */
    if (strstr(type, "html") != NULL || strstr(type, "svg") != NULL)
        add(out, "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; sandbox\r\n");
    if (part->status == 206) {
        add(out, "Content-Range: bytes ");
        add_number(out, part->first);
        add(out, "-");
        add_number(out, part->end - 1);
        add(out, "/");
        add_number(out, size);
        add(out, "\r\n");
    }
    add_length(out, part->end - part->first);
    add_end(out, connection);
}

void add_page_head(struct text *out, size_t len, struct reply_connection connection)
{
    add_status(out, 200);
    add(out, "Content-Type: text/html; charset=utf-8\r\nCache-Control: no-cache\r\n");
    add_length(out, len);
    add_end(out, connection);
}

void add_short_reply(struct text *out, int status, const char *allow, bool without_body,
                     struct reply_connection connection)
{
    add_status(out, status);
    if (allow != NULL) {
        add(out, "Allow: ");
        add(out, allow);
        add(out, "\r\n");
    }
    if (status >= 400) {
        /* The number, a space, the reason and a line feed. */
        add(out, "Content-Type: text/plain; charset=utf-8\r\n");
        add_length(out, 5 + strlen(reason(status)));
    } else if (status != 204) {
        add_length(out, 0);
    }
    add_end(out, connection);
    if (status >= 400 && !without_body) {
        add_number(out, (uint64_t)status);
        add(out, " ");
        add(out, reason(status));
        add(out, "\n");
    }
}

void add_unsatisfiable(struct text *out, uint64_t size, struct reply_connection connection)
{
    add_status(out, 416);
    add(out, "Content-Range: bytes */");
    add_number(out, size);
    add(out, "\r\n");
    add_length(out, 0);
    add_end(out, connection);
}
