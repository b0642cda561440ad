/* Appending to a bounded buffer. Overflow is remembered, not written: check `full` once at the end. */
#ifndef TEXT_H
#define TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct text {
    char *bytes;
    size_t len;
    size_t capacity;
    bool full;
};

static inline void add_bytes(struct text *text, const char *bytes, size_t len)
{
    if (len > text->capacity - text->len) {
        text->full = true;
        return;
    }
    memcpy(text->bytes + text->len, bytes, len);
    text->len += len;
}

static inline void add(struct text *text, const char *string)
{
    add_bytes(text, string, strlen(string));
}

static inline void add_number(struct text *text, uint64_t value)
{
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    add_bytes(text, digits + at, sizeof digits - at);
}

#endif
