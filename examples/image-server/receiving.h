/* Taking an upload's body, with a Content-Length or chunked, into a file. */
#ifndef RECEIVING_H
#define RECEIVING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chunked.h"
#include "request.h"
#include "store.h"

struct receiving {
    struct upload upload;
    struct chunked chunked;
    bool is_chunked;
    bool http_1_0;
    uint64_t left;  /* with a Content-Length */
    uint64_t total; /* received so far */
    char name[MAX_NAME + 1];
};

/* Largest upload in bytes. */
extern uint64_t max_file_bytes;

/* All return a status code, or 0 when the upload goes on. */

/* Begins an upload; NULL in `*out` and the status that refuses it, or 0. */
int receiving_begin(const struct request *request, struct receiving **out);

/* Takes what belongs to the body from `bytes`. */
int receiving_take(struct receiving *receiving, const char *bytes, size_t len, size_t *used);

/* Gives the complete file its name: 201 or 204, or the status of the failure. Frees `receiving`. */
int receiving_commit(struct receiving *receiving);

/* Gives up and frees. */
void receiving_abort(struct receiving *receiving);

/* Bytes of data that come next before anything else can; 0 when framing comes next, or nothing. */
uint64_t receiving_data_left(const struct receiving *receiving);

bool receiving_complete(const struct receiving *receiving);

#endif
