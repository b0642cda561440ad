/* Parsing the head of an HTTP/1.x request. See request.h. */
#include "request.h"

#include <string.h>

#include "name.h"

struct span {
    const char *at;
    size_t len;
};

/* What the headers said, before they are weighed against each other. */
struct headers {
    unsigned hosts;
    bool has_length, has_encoding, close, keep_alive, if_range;
};

ptrdiff_t head_length(const char *bytes, size_t len, size_t *skipped)
{
    size_t at = 0;
    while (len - at >= 2 && bytes[at] == '\r' && bytes[at + 1] == '\n')
        at += 2;
    *skipped = at;
    for (size_t line = at; line < len;) {
        const char *end = memchr(bytes + line, '\n', len - line);
        size_t stop = end == NULL ? len : (size_t)(end - bytes);
        for (size_t i = line; i < stop; i++) {
            unsigned char c = (unsigned char)bytes[i];
            /* A CR is allowed before the LF only, and as the last byte that has arrived. */
            if ((c < ' ' && c != '\t' && !(c == '\r' && i + 1 == stop)) || c == 127)
                return -1;
        }
        if (end == NULL)
            return 0;
        if (stop == line || bytes[stop - 1] != '\r')
            return -1;
        if (stop == line + 1)
            return (ptrdiff_t)stop + 1;
        line = stop + 1;
    }
    return 0;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static bool is_word(struct span span, const char *word)
{
    size_t i = 0;
    for (; i < span.len && word[i] != '\0'; i++) {
        if (lower(span.at[i]) != word[i])
            return false;
    }
    return i == span.len && word[i] == '\0';
}

static struct span trim(struct span span)
{
    while (span.len > 0 && (*span.at == ' ' || *span.at == '\t')) {
        span.at++;
        span.len--;
    }
    while (span.len > 0 && (span.at[span.len - 1] == ' ' || span.at[span.len - 1] == '\t'))
        span.len--;
    return span;
}

/* Takes the next element of a comma-separated list off `list`. */
static bool next_element(struct span *list, struct span *element)
{
    const char *comma;
    if (list->len == 0)
        return false;
    comma = memchr(list->at, ',', list->len);
    *element = (struct span){list->at, comma == NULL ? list->len : (size_t)(comma - list->at)};
    list->len -= comma == NULL ? list->len : element->len + 1;
    list->at += comma == NULL ? 0 : element->len + 1;
    *element = trim(*element);
    return true;
}

static bool is_token(struct span span)
{
    for (size_t i = 0; i < span.len; i++) {
        char c = span.at[i];
        bool letter = lower(c) >= 'a' && lower(c) <= 'z';
        if (!letter && !(c >= '0' && c <= '9') && memchr("!#$%&'*+-.^_`|~", c, 15) == NULL)
            return false;
    }
    return span.len > 0;
}

/* A number of at most 18 digits, which no arithmetic here overflows. */
static bool parse_number(struct span span, uint64_t *out)
{
    uint64_t value = 0;
    if (span.len == 0 || span.len > 18)
        return false;
    for (size_t i = 0; i < span.len; i++) {
        if (span.at[i] < '0' || span.at[i] > '9')
            return false;
        value = value * 10 + (uint64_t)(span.at[i] - '0');
    }
    *out = value;
    return true;
}

/* Several ranges, another unit or nonsense: the header is ignored, as RFC 9110 allows, and the whole is sent. */
static void parse_range(struct span value, struct range *out)
{
    const char *dash;
    struct span first, last;
    out->kind = RANGE_NONE;
    if (value.len < 6 || !is_word((struct span){value.at, 6}, "bytes="))
        return;
    value = trim((struct span){value.at + 6, value.len - 6});
    dash = memchr(value.at, '-', value.len);
    if (dash == NULL)
        return;
    first = (struct span){value.at, (size_t)(dash - value.at)};
    last = (struct span){dash + 1, value.len - first.len - 1};
    if (first.len == 0) {
        if (parse_number(last, &out->first))
            out->kind = RANGE_SUFFIX;
    } else if (!parse_number(first, &out->first)) {
        return;
    } else if (last.len == 0) {
        out->kind = RANGE_FROM;
    } else if (parse_number(last, &out->last) && out->last >= out->first) {
        out->kind = RANGE_FROM_TO;
    }
}

static int parse_header(struct span name, struct span value, struct request *out, struct headers *seen)
{
    struct span element;
    if (is_word(name, "host")) {
        seen->hosts++;
    } else if (is_word(name, "content-length")) {
        uint64_t len;
        if (!parse_number(value, &len) || (seen->has_length && len != out->body_len))
            return 400;
        seen->has_length = true;
        out->body_len = len;
    } else if (is_word(name, "transfer-encoding")) {
        if (seen->has_encoding || !is_word(value, "chunked"))
            return 501;
        seen->has_encoding = true;
    } else if (is_word(name, "connection")) {
        while (next_element(&value, &element)) {
            seen->close |= is_word(element, "close");
            seen->keep_alive |= is_word(element, "keep-alive");
        }
    } else if (is_word(name, "expect")) {
        if (!is_word(value, "100-continue"))
            return 417;
        out->expects_continue = true;
    } else if (is_word(name, "range")) {
        parse_range(value, &out->range);
    } else if (is_word(name, "if-range")) {
        seen->if_range = true;
    } else if (is_word(name, "content-range")) {
        out->has_content_range = true;
    }
    return 0;
}

/* Headers that contradict each other are refused: two parties reading them differently is how requests are smuggled. */
static int weigh(const struct headers *seen, struct request *out)
{
    if (seen->hosts > 1 || (seen->hosts == 0 && !out->http_1_0))
        return 400;
    if (seen->has_encoding && (seen->has_length || out->http_1_0))
        return 400;
    out->body = seen->has_encoding ? BODY_CHUNKED : seen->has_length ? BODY_LENGTH : BODY_NONE;
    out->keep_alive = !seen->close && (!out->http_1_0 || seen->keep_alive);
    out->expects_continue = out->expects_continue && !out->http_1_0;
    /* There are no validators here, so no condition on one can hold. */
    if (seen->if_range)
        out->range.kind = RANGE_NONE;
    return 0;
}

static int parse_version(struct span span, struct request *out)
{
    if (span.len != 8 || memcmp(span.at, "HTTP/", 5) != 0 || span.at[6] != '.')
        return 400;
    if (span.at[5] < '0' || span.at[5] > '9' || span.at[7] < '0' || span.at[7] > '9')
        return 400;
    if (span.at[5] != '1')
        return 505;
    out->http_1_0 = span.at[7] == '0';
    return 0;
}

static int parse_target(struct span target, struct request *out)
{
    const char *query;
    if (target.len >= 7 && is_word((struct span){target.at, 7}, "http://")) {
        const char *path = memchr(target.at + 7, '/', target.len - 7);
        struct span whole = target;
        target = path == NULL ? (struct span){"/", 1} : (struct span){path, whole.len - (size_t)(path - whole.at)};
    }
    if (target.len == 0 || *target.at != '/')
        return 400;
    query = memchr(target.at, '?', target.len);
    if (query != NULL)
        target.len = (size_t)(query - target.at);
    out->is_root = target.len == 1;
    out->name_is_bad = !out->is_root && !decode_name(target.at + 1, target.len - 1, out->name);
    return 0;
}

static int parse_request_line(struct span line, struct request *out)
{
    static const struct {
        const char *name;
        enum method method;
    } methods[] = {{"GET", METHOD_GET}, {"HEAD", METHOD_HEAD}, {"PUT", METHOD_PUT}, {"DELETE", METHOD_DELETE}};
    const char *first = memchr(line.at, ' ', line.len);
    const char *second = first == NULL ? NULL : memchr(first + 1, ' ', line.len - (size_t)(first + 1 - line.at));
    struct span method, target, version;
    int status;
    if (second == NULL)
        return 400;
    method = (struct span){line.at, (size_t)(first - line.at)};
    target = (struct span){first + 1, (size_t)(second - first - 1)};
    version = (struct span){second + 1, line.len - (size_t)(second + 1 - line.at)};
    if (!is_token(method))
        return 400;
    out->method = METHOD_OTHER;
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        if (method.len == strlen(methods[i].name) && memcmp(method.at, methods[i].name, method.len) == 0)
            out->method = methods[i].method;
    }
    status = parse_version(version, out);
    return status != 0 ? status : parse_target(target, out);
}

int parse_head(const char *head, size_t len, struct request *out)
{
    struct headers seen = {0};
    const char *end = memchr(head, '\r', len);
    size_t at = (size_t)(end - head);
    int status;
    memset(out, 0, sizeof *out);
    status = parse_request_line((struct span){head, at}, out);
    for (at += 2; status == 0 && at + 2 < len;) {
        size_t line_len = (size_t)((const char *)memchr(head + at, '\r', len - at) - head) - at;
        const char *colon = memchr(head + at, ':', line_len);
        struct span name;
        if (colon == NULL)
            return 400;
        name = (struct span){head + at, (size_t)(colon - head) - at};
        /* Also refuses folded lines and blanks before the colon. */
        if (!is_token(name))
            return 400;
        status = parse_header(name, trim((struct span){colon + 1, line_len - name.len - 1}), out, &seen);
        at += line_len + 2;
    }
    return status != 0 ? status : weigh(&seen, out);
}
