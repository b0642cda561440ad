/* Decoding of the chunked transfer coding (RFC 9112, section 7.1), a few bytes at a time. */
#ifndef CHUNKED_H
#define CHUNKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct chunked {
    enum {
        CHUNK_SIZE,
        CHUNK_EXTENSION,
        CHUNK_SIZE_LF,
        CHUNK_DATA,
        CHUNK_DATA_CR,
        CHUNK_DATA_LF,
        CHUNK_TRAILER_START,
        CHUNK_TRAILER,
        CHUNK_TRAILER_LF,
        CHUNK_END_LF,
        CHUNK_DONE,
    } state;
    unsigned digits;
    unsigned overhead; /* bytes of extensions and trailers so far, limited to MAX_OVERHEAD */
    uint64_t left;     /* of the current chunk */
};

enum { MAX_OVERHEAD = 64 * 1024 };

/* Consumes bytes up to the next piece of data or the end. Returns false for what is not chunked coding. `*used` bytes
 * were consumed; afterwards the state is CHUNK_DATA (with `left` bytes to take), CHUNK_DONE, or all are used up. */
bool chunked_frame(struct chunked *chunked, const char *bytes, size_t len, size_t *used);

/* Says that `len` bytes of data were taken, at most `left`. */
void chunked_took(struct chunked *chunked, uint64_t len);

#endif
