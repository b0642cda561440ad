/* Bytes that grow. */
#ifndef BUFFER_H
#define BUFFER_H

#include <stddef.h>

struct buffer {
    char *bytes;
    size_t len;
    size_t capacity;
};

/* Makes room for `more` bytes behind those that are there; where. Ends the program when there is no memory. */
char *buffer_room(struct buffer *buffer, size_t more);
void buffer_add(struct buffer *buffer, const void *bytes, size_t len);
void buffer_add_text(struct buffer *buffer, const char *text);
/* Takes bytes away at the front. */
void buffer_drop(struct buffer *buffer, size_t len);
void buffer_free(struct buffer *buffer);

#endif
