/* The keys and their values: a hash table with chains that grows and shrinks a few buckets at a time, and a heap of the
 * keys that expire. Nothing in it depends on addresses, time or pointer width: the same commands give the same order of
 * keys and the same count of bytes everywhere. The hash has no secret, so a client that chooses keys to collide can
 * make its own commands slow. */
#ifndef TABLE_H
#define TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "slice.h"

/* What a key counts beside its own bytes and its value's room. */
enum { ENTRY_BYTES = 64, BUCKET_BYTES = 8 };

struct entry {
    struct entry *next;
    int64_t expires_at; /* milliseconds since 1970, 0 for never */
    uint32_t hash;
    uint32_t heap_at; /* place in the heap, when it expires */
    uint32_t key_len;
    uint32_t value_len;
    uint32_t room;   /* bytes for the value */
    char bytes[]; /* the key, then the value */
};

/* The most that keys and values may take, in bytes; counted as above. */
extern uint64_t table_max_bytes;

static inline struct slice entry_key(const struct entry *entry)
{
    return (struct slice){entry->bytes, entry->key_len};
}

static inline struct slice entry_value(const struct entry *entry)
{
    return (struct slice){entry->bytes + entry->key_len, entry->value_len};
}

/* The entry of a key, unless it has expired. Entries are good until the next change of the table. */
struct entry *table_find(struct slice key);

/* Sets a value and leaves the expiry as it is; NULL when memory is short. `key` and `value` may not point into the
 * table. */
struct entry *table_set(struct slice key, struct slice value);

/* Makes the value longer by `tail`, in place where there is room; NULL when memory is short. */
struct entry *table_append(struct slice key, struct slice tail);

bool table_delete(struct slice key);
void table_clear(void);

/* Sets when an entry expires, 0 for never. False when memory is short. */
bool table_expire(struct entry *entry, int64_t at);

/* Removes at most `max` keys that have expired by now; true when there may be more. */
bool table_expire_due(size_t max);

/* When the next key expires, 0 for never. */
int64_t table_next_expiry(void);

size_t table_count(void);
size_t table_expiring(void);
uint64_t table_bytes(void);

/* Calls `visit` for every entry; it may not change the table. */
void table_each(void (*visit)(const struct entry *entry, void *context), void *context);

#endif
