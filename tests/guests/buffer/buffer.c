/* See buffer.h. */
#include "buffer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *buffer_room(struct buffer *buffer, size_t more)
{
    size_t capacity = buffer->capacity == 0 ? 4096 : buffer->capacity;
    while (capacity - buffer->len < more)
        capacity *= 2;
    if (capacity > buffer->capacity) {
        buffer->bytes = realloc(buffer->bytes, capacity);
        if (buffer->bytes == NULL) {
            fprintf(stderr, "no memory for %zu bytes\n", capacity);
            exit(1);
        }
        buffer->capacity = capacity;
    }
    return buffer->bytes + buffer->len;
}

void buffer_add(struct buffer *buffer, const void *bytes, size_t len)
{
    memcpy(buffer_room(buffer, len), bytes, len);
    buffer->len += len;
}

void buffer_add_text(struct buffer *buffer, const char *text)
{
    buffer_add(buffer, text, strlen(text));
}

void buffer_drop(struct buffer *buffer, size_t len)
{
    buffer->len -= len;
    if (buffer->len == 0)
        buffer_free(buffer);
    else
        memmove(buffer->bytes, buffer->bytes + len, buffer->len);
}

void buffer_free(struct buffer *buffer)
{
    free(buffer->bytes);
    *buffer = (struct buffer){NULL, 0, 0};
}
