/* The keys that expire, as a binary heap: the first to expire is on top. Used by the table alone. */
#ifndef EXPIRY_H
#define EXPIRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct entry;

/* Adds an entry that is not in the heap; false when memory is short. */
bool expiry_add(struct entry *entry, int64_t at);

/* Takes an entry out, if it is in, and makes it one that never expires. */
void expiry_remove(struct entry *entry);

/* Says that an entry has a new address. */
void expiry_moved(struct entry *entry);

void expiry_clear(void);
struct entry *expiry_first(void);
size_t expiry_count(void);

#endif
