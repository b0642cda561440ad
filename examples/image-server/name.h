/* Names of files as clients write them: one path segment, percent-encoded. */
#ifndef NAME_H
#define NAME_H

#include <stdbool.h>
#include <stddef.h>

/* Decodes a path segment into `name`, which holds MAX_NAME + 1 bytes. False for what is no safe name: empty, too long,
 * with a slash, backslash or control character, beginning with a dot, or not UTF-8. */
bool decode_name(const char *encoded, size_t len, char *name);

/* The media type that a name's extension stands for. */
const char *content_type(const char *name);

/* Whether browsers show it in an <img>. */
bool is_image(const char *name);

#endif
