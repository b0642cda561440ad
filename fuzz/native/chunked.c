/* Chunked bodies of uploads to examples/image-server: however they are cut, the same data comes out. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../examples/image-server/chunked.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
    int state; /* or -1 for what is no chunked coding */
    uint64_t taken;
    size_t used;
    uint32_t sum;
};

/* As receiving.c does, with at most `step` bytes at a time. */
static struct outcome decode(const uint8_t *data, size_t size, size_t step)
{
    struct chunked chunked = {0};
    struct outcome outcome = {0, 0, 0, 0};
    while (outcome.used < size && chunked.state != CHUNK_DONE) {
        size_t left = size - outcome.used, piece = left < step ? left : step, used;
        /* A copy that ends where its memory ends, so that a read beyond it is seen. */
        char *copy = malloc(piece);
        assert(copy != NULL);
        memcpy(copy, data + outcome.used, piece);
        if (chunked.state == CHUNK_DATA) {
            assert(chunked.left > 0);
            used = chunked.left < piece ? (size_t)chunked.left : piece;
            for (size_t i = 0; i < used; i++)
                outcome.sum = outcome.sum * 31 + (unsigned char)copy[i];
            outcome.taken += used;
            chunked_took(&chunked, used);
        } else if (!chunked_frame(&chunked, copy, piece, &used)) {
            free(copy);
            outcome.state = -1;
            return outcome;
        }
        free(copy);
        assert(used > 0 && used <= piece && chunked.overhead <= MAX_OVERHEAD);
        outcome.used += used;
    }
    outcome.state = (int)chunked.state;
    return outcome;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct outcome whole, pieces;
    if (size < 1)
        return 0;
    whole = decode(data + 1, size - 1, size);
    pieces = decode(data + 1, size - 1, 1 + data[0] % 16);
    assert(whole.state == pieces.state && whole.taken == pieces.taken && whole.sum == pieces.sum);
    assert(whole.state < 0 || whole.used == pieces.used);
    return 0;
}
