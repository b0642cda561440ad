/* The requests of examples/kv-server: whatever arrives, in whatever pieces, is parsed or refused, within the bytes. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../examples/kv-server/resp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Parses a copy that ends where its memory ends, so that a read beyond it is seen. */
static enum resp_result parse(struct resp_progress *progress, char *bytes, size_t len, struct resp_request *out)
{
    enum resp_result result;
    char *copy = malloc(len == 0 ? 1 : len);
    assert(copy != NULL);
    memcpy(copy, bytes, len);
    result = resp_parse(progress, copy, len, out);
    if (result == RESP_COMPLETE) {
        assert(out->used > 0 && out->used <= len && out->count <= MAX_ARGUMENTS);
        for (size_t i = 0; i < out->count; i++) {
            const struct slice *argument = &out->arguments[i];
            assert(argument->at >= copy && argument->at + argument->len <= copy + len);
        }
    } else if (result == RESP_FAULT) {
        assert(out->fault != NULL && strlen(out->fault) < 100);
    }
    /* What an inline command changed is for its own bytes alone. */
    memcpy(bytes, copy, len);
    free(copy);
    return result;
}

/* The first byte says how much arrives at a time; requests follow each other as in server.c. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct resp_progress progress = {0, 0};
    size_t step, arrived = 0, begin = 0, len;
    char *bytes;
    if (size < 2)
        return 0;
    step = 1 + data[0] % 64;
    len = size - 1;
    bytes = malloc(len);
    assert(bytes != NULL);
    memcpy(bytes, data + 1, len);
    while (begin < len) {
        struct resp_request request;
        enum resp_result result = parse(&progress, bytes + begin, arrived - begin, &request);
        if (result == RESP_FAULT)
            break;
        if (result == RESP_COMPLETE)
            begin += request.used;
        else if (arrived == len)
            break;
        else
            arrived += step < len - arrived ? step : len - arrived;
    }
    free(bytes);
    return 0;
}
