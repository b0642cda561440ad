/* The folder of images. Uploads go to a temporary name and appear under their own when they are complete, so that a
 * reader never sees half a file. Names beginning with a dot are the store's own. */
#ifndef STORE_H
#define STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MAX_FILES = 10000 };

struct entry {
    char *name;
    uint64_t size;
};

struct listing {
    struct entry *entries;
    size_t count;
};

struct upload {
    int fd;
    unsigned serial; /* part of the temporary name */
};

/* Opens or creates the folder and removes what unfinished uploads left. Exits with a message when it cannot. */
void store_open(const char *folder);

/* Opens a file for reading; -1 with errno. */
int store_read(const char *name, uint64_t *size);

/* All return 0 or an errno. */
int upload_begin(struct upload *upload, const char *name);
int upload_write(struct upload *upload, const char *bytes, size_t len);
int upload_commit(struct upload *upload, const char *name, bool *created);
int store_remove(const char *name);

/* Closes and removes the temporary file. */
void upload_abort(struct upload *upload);

/* Every file, by name; false when memory is short. Free with listing_free. */
bool store_list(struct listing *out);
void listing_free(struct listing *listing);

/* Rises with every change that the listing shows. */
unsigned store_version(void);

#endif
