/* Bytes that belong to somebody else. */
#ifndef SLICE_H
#define SLICE_H

#include <stddef.h>

struct slice {
    const char *at;
    size_t len;
};

#endif
