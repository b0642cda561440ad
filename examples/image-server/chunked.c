/* Decoding of the chunked transfer coding. See chunked.h. */
#include "chunked.h"

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

static bool size_byte(struct chunked *chunked, char c)
{
    int digit = hex(c);
    if (digit >= 0) {
        chunked->left = chunked->left << 4 | (unsigned)digit;
        return ++chunked->digits <= 15;
    }
    if (chunked->digits == 0)
        return false;
    if (c == '\r')
        chunked->state = CHUNK_SIZE_LF;
    else if (c == ';' || c == ' ' || c == '\t')
        chunked->state = CHUNK_EXTENSION;
    else
        return false;
    return true;
}

/* A byte that has to be `wanted`, after which `next` holds. */
static bool step(struct chunked *chunked, char c, char wanted, int next)
{
    chunked->state = next;
    return c == wanted;
}

static bool line_byte(struct chunked *chunked, char c, int at_end)
{
    if (c == '\r')
        chunked->state = at_end;
    return c != '\n' && ++chunked->overhead <= MAX_OVERHEAD;
}

static bool one_byte(struct chunked *chunked, char c)
{
    switch (chunked->state) {
    case CHUNK_SIZE:
        return size_byte(chunked, c);
    case CHUNK_EXTENSION:
        return line_byte(chunked, c, CHUNK_SIZE_LF);
    case CHUNK_SIZE_LF:
        return step(chunked, c, '\n', chunked->left > 0 ? CHUNK_DATA : CHUNK_TRAILER_START);
    case CHUNK_DATA_CR:
        return step(chunked, c, '\r', CHUNK_DATA_LF);
    case CHUNK_DATA_LF:
        chunked->digits = 0;
        return step(chunked, c, '\n', CHUNK_SIZE);
    case CHUNK_TRAILER_START:
        chunked->state = c == '\r' ? CHUNK_END_LF : CHUNK_TRAILER;
        return c != '\n';
    case CHUNK_TRAILER:
        return line_byte(chunked, c, CHUNK_TRAILER_LF);
    case CHUNK_TRAILER_LF:
        return step(chunked, c, '\n', CHUNK_TRAILER_START);
    case CHUNK_END_LF:
        return step(chunked, c, '\n', CHUNK_DONE);
    case CHUNK_DATA:
    case CHUNK_DONE:
        break;
    }
    return false;
}

bool chunked_frame(struct chunked *chunked, const char *bytes, size_t len, size_t *used)
{
    *used = 0;
    while (*used < len && chunked->state != CHUNK_DATA && chunked->state != CHUNK_DONE) {
        if (!one_byte(chunked, bytes[(*used)++]))
            return false;
    }
    return true;
}

void chunked_took(struct chunked *chunked, uint64_t len)
{
    chunked->left -= len;
    if (chunked->left == 0)
        chunked->state = CHUNK_DATA_CR;
}
