/* Parsing RESP2 requests in place. See resp.h. */
#include "resp.h"

#include <stdbool.h>
#include <string.h>

static struct slice arguments[MAX_ARGUMENTS];
static char fault_text[] = "expected '$', got ' '";

static enum resp_result fault(struct resp_request *out, const char *text)
{
    out->fault = text;
    return RESP_FAULT;
}

/* The length of the line at `at` without its CR LF, which have both arrived; -1 when they have not. */
static ptrdiff_t line_length(const char *at, size_t left)
{
    const char *cr = memchr(at, '\r', left);
    return cr == NULL || (size_t)(cr - at) + 1 >= left ? -1 : cr - at;
}

/* A decimal number with an optional minus. Large ones become some value above every limit here. */
static bool parse_length(const char *at, size_t len, long *out)
{
    bool negative = len > 0 && *at == '-';
    long value = 0;
    size_t i = negative ? 1 : 0;
    if (i == len)
        return false;
    for (; i < len; i++) {
        if (at[i] < '0' || at[i] > '9')
            return false;
        if (value < MAX_REQUEST)
            value = value * 10 + (at[i] - '0');
    }
    *out = negative ? -value : value;
    return true;
}

/* Reads "*N" or "$N" at `*offset` and moves behind it. */
static enum resp_result parse_count(const char *bytes, size_t len, size_t *offset, long *value, bool bulk,
                                    struct resp_request *out)
{
    ptrdiff_t line;
    if (*offset == len)
        return RESP_INCOMPLETE;
    if (bulk && bytes[*offset] != '$') {
        fault_text[sizeof fault_text - 3] = bytes[*offset];
        return fault(out, fault_text);
    }
    line = line_length(bytes + *offset, len - *offset);
    if (line < 0 && len - *offset <= MAX_LINE)
        return RESP_INCOMPLETE;
    if (line < 0 || line > MAX_LINE)
        return fault(out, bulk ? "too big bulk count string" : "too big mbulk count string");
    if (!parse_length(bytes + *offset + 1, (size_t)line - 1, value) || *value > (bulk ? MAX_BULK : MAX_ARGUMENTS) ||
        (bulk && *value < 0))
        return fault(out, bulk ? "invalid bulk length" : "invalid multibulk length");
    *offset += (size_t)line + 2;
    return RESP_COMPLETE;
}

/* Goes on from `progress`; fills arguments[] from the first one seen in this call. */
static enum resp_result scan(struct resp_progress *progress, const char *bytes, size_t len, struct resp_request *out)
{
    enum resp_result result;
    out->count = 0;
    if (progress->arguments_left == 0) {
        long count;
        result = parse_count(bytes, len, &progress->offset, &count, false, out);
        if (result != RESP_COMPLETE)
            return result;
        progress->arguments_left = count < 0 ? 0 : count;
    }
    while (progress->arguments_left > 0) {
        size_t offset = progress->offset;
        long bulk;
        result = parse_count(bytes, len, &offset, &bulk, true, out);
        if (result != RESP_COMPLETE)
            return result;
        if (offset + (size_t)bulk > MAX_REQUEST)
            return fault(out, "too big request");
        if (len - offset < (size_t)bulk + 2)
            return RESP_INCOMPLETE;
        arguments[out->count++] = (struct slice){bytes + offset, (size_t)bulk};
        progress->offset = offset + (size_t)bulk + 2;
        progress->arguments_left--;
    }
    return RESP_COMPLETE;
}

static enum resp_result parse_array(struct resp_progress *progress, const char *bytes, size_t len,
                                    struct resp_request *out)
{
    bool resumed = progress->offset > 0;
    enum resp_result result = scan(progress, bytes, len, out);
    /* Arguments seen in an earlier call have moved since: now that all are here, go through them once more. */
    if (result == RESP_COMPLETE && resumed) {
        *progress = (struct resp_progress){0, 0};
        result = scan(progress, bytes, len, out);
    }
    if (result == RESP_COMPLETE) {
        out->used = progress->offset;
        *progress = (struct resp_progress){0, 0};
    }
    return result;
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\v' || c == '\f' || c == '\0';
}

/* The byte that an escape in double quotes stands for; `*at` is on the backslash and moves to the escape's end. */
static char unescape(const char *line, size_t len, size_t *at)
{
    static const char from[] = "nrtba", to[] = "\n\r\t\b\a";
    const char *found;
    if (*at + 3 < len && line[*at + 1] == 'x' && hex(line[*at + 2]) >= 0 && hex(line[*at + 3]) >= 0) {
        *at += 3;
        return (char)(hex(line[*at - 1]) << 4 | hex(line[*at]));
    }
    (*at)++;
    found = memchr(from, line[*at], sizeof from - 1);
    return found == NULL ? line[*at] : to[found - from];
}

/* Takes one word at `*at` off the line; quotes and escapes are resolved in place, which never makes it longer. False
 * for quotes that do not match. */
static bool take_word(char *line, size_t len, size_t *at, struct slice *word)
{
    char quote = 0;
    char *start = line + *at;
    size_t out = *at;
    for (; *at < len; (*at)++) {
        char c = line[*at];
        if (quote == 0 && is_blank(c))
            break;
        if (quote == 0 && (c == '"' || c == '\'')) {
            quote = c;
        } else if (quote == '"' && c == '\\' && *at + 1 < len) {
            line[out++] = unescape(line, len, at);
        } else if (quote == '\'' && c == '\\' && *at + 1 < len && line[*at + 1] == '\'') {
            line[out++] = '\'';
            (*at)++;
        } else if (quote != 0 && c == quote) {
            if (*at + 1 < len && !is_blank(line[*at + 1]))
                return false;
            quote = 0;
        } else {
            line[out++] = c;
        }
    }
    *word = (struct slice){start, (size_t)(line + out - start)};
    return quote == 0;
}

static enum resp_result parse_inline(char *bytes, size_t len, struct resp_request *out)
{
    char *end = memchr(bytes, '\n', len < MAX_LINE ? len : MAX_LINE);
    size_t line;
    if (end == NULL)
        return len < MAX_LINE ? RESP_INCOMPLETE : fault(out, "too big inline request");
    line = (size_t)(end - bytes);
    out->used = line + 1;
    out->count = 0;
    for (size_t at = 0; at < line;) {
        if (is_blank(bytes[at]))
            at++;
        else if (!take_word(bytes, line, &at, &arguments[out->count++]))
            return fault(out, "unbalanced quotes in request");
    }
    return RESP_COMPLETE;
}

enum resp_result resp_parse(struct resp_progress *progress, char *bytes, size_t len, struct resp_request *out)
{
    out->arguments = arguments;
    if (len == 0)
        return RESP_INCOMPLETE;
    return bytes[0] == '*' ? parse_array(progress, bytes, len, out) : parse_inline(bytes, len, out);
}
