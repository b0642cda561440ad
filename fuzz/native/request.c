/* The heads of requests to examples/image-server: parsed or refused, within the bytes. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../examples/image-server/name.h"
#include "../../examples/image-server/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct request *request)
{
    assert(request->method <= METHOD_OTHER && request->body <= BODY_CHUNKED);
    assert(request->range.kind != RANGE_FROM_TO || request->range.first <= request->range.last);
    /* What is left of a bad name nobody looks at, but it ends. */
    assert(strlen(request->name) <= MAX_NAME);
    if (!request->is_root && !request->name_is_bad) {
        assert(strchr(request->name, '/') == NULL && request->name[0] != '.');
        assert(request->name[0] != '\0' && content_type(request->name) != NULL);
        (void)is_image(request->name);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* A copy that ends where its memory ends, so that a read beyond it is seen. */
    char *bytes = malloc(size == 0 ? 1 : size);
    size_t skipped, before = 0;
    ptrdiff_t length;
    assert(bytes != NULL);
    if (size > 0)
        memcpy(bytes, data, size);
    length = head_length(bytes, size, &skipped);
    assert(length <= (ptrdiff_t)size && skipped <= size);
    if (length > 0) {
        struct request request;
        char *head = malloc((size_t)length - skipped);
        int status;
        assert(head != NULL && skipped < (size_t)length);
        memcpy(head, bytes + skipped, (size_t)length - skipped);
        status = parse_head(head, (size_t)length - skipped, &request);
        assert(status == 0 || (status >= 400 && status < 600));
        if (status == 0)
            check(&request);
        free(head);
        /* The head was not whole any sooner. */
        assert(head_length(bytes, (size_t)length - 1, &before) == 0);
    }
    free(bytes);
    return 0;
}
