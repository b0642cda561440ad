/* See answers.h. */
#include "answers.h"

#include <stdio.h>
#include <string.h>

void greeting(const char *query, char *text, size_t size)
{
    static const char key[] = "name=";
    const char *name = "world";
    int length = 5;
    for (const char *at = query; at != NULL; at = strchr(at, '&')) {
        at += *at == '&';
        if (strncmp(at, key, sizeof key - 1) == 0) {
            size_t given = strcspn(at + sizeof key - 1, "&");
            if (given > 0) {
                name = at + sizeof key - 1;
                length = given < 100 ? (int)given : 100;
            }
            break;
        }
    }
    snprintf(text, size, "Hello, %.*s, from C!\n", length, name);
}

size_t environment(char *const *variables, char *text, size_t size)
{
    size_t length = 0;
    if (size > 0)
        text[0] = '\0';
    for (; variables != NULL && *variables != NULL; variables++) {
        size_t at = length < size ? length : size;
        length += (size_t)snprintf(text + at, size - at, "%s\n", *variables);
    }
    return length;
}
