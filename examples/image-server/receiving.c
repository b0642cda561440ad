/* Taking an upload's body into a file. See receiving.h. */
#include "receiving.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

uint64_t max_file_bytes = 128 * 1024 * 1024;

static int storage_status(int error)
{
    switch (error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return 507;
    default:
        return 500;
    }
}

int receiving_begin(const struct request *request, struct receiving **out)
{
    struct receiving *receiving;
    int error;
    *out = NULL;
    if (request->has_content_range)
        return 400;
    if (request->body == BODY_NONE)
        return 411;
    if (request->body == BODY_LENGTH && request->body_len > max_file_bytes)
        return 413;
    receiving = calloc(1, sizeof *receiving);
    if (receiving == NULL)
        return 503;
    error = upload_begin(&receiving->upload, request->name);
    if (error != 0) {
        free(receiving);
        return storage_status(error);
    }
    receiving->is_chunked = request->body == BODY_CHUNKED;
    receiving->http_1_0 = request->http_1_0;
    receiving->left = request->body_len;
    memcpy(receiving->name, request->name, sizeof receiving->name);
    *out = receiving;
    return 0;
}

uint64_t receiving_data_left(const struct receiving *receiving)
{
    if (!receiving->is_chunked)
        return receiving->left;
    return receiving->chunked.state == CHUNK_DATA ? receiving->chunked.left : 0;
}

bool receiving_complete(const struct receiving *receiving)
{
    return receiving->is_chunked ? receiving->chunked.state == CHUNK_DONE : receiving->left == 0;
}

static int take_data(struct receiving *receiving, const char *bytes, size_t len)
{
    int error;
    if (len > max_file_bytes - receiving->total)
        return 413;
    error = upload_write(&receiving->upload, bytes, len);
    if (error != 0)
        return storage_status(error);
    receiving->total += len;
    if (receiving->is_chunked)
        chunked_took(&receiving->chunked, len);
    else
        receiving->left -= len;
    return 0;
}

int receiving_take(struct receiving *receiving, const char *bytes, size_t len, size_t *used)
{
    *used = 0;
    while (*used < len && !receiving_complete(receiving)) {
        uint64_t data = receiving_data_left(receiving);
        size_t left = len - *used, step = data < left ? (size_t)data : left;
        if (data > 0) {
            int status = take_data(receiving, bytes + *used, step);
            if (status != 0)
                return status;
        } else if (!chunked_frame(&receiving->chunked, bytes + *used, left, &step)) {
            return 400;
        }
        *used += step;
    }
    return 0;
}

int receiving_commit(struct receiving *receiving)
{
    bool created;
    int error = upload_commit(&receiving->upload, receiving->name, &created);
    free(receiving);
    return error != 0 ? storage_status(error) : created ? 201 : 204;
}

void receiving_abort(struct receiving *receiving)
{
    upload_abort(&receiving->upload);
    free(receiving);
}
