/* The keys that expire, as a binary heap. See expiry.h. */
#include "expiry.h"

#include <stdlib.h>

#include "table.h"

static struct entry **heap;
static size_t count, capacity;

static void put(size_t at, struct entry *entry)
{
    heap[at] = entry;
    entry->heap_at = (uint32_t)at;
}

/* Finds the place of an entry that may have to go up or down from `at`. */
static void settle(size_t at, struct entry *entry)
{
    while (at > 0 && heap[(at - 1) / 2]->expires_at > entry->expires_at) {
        put(at, heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    for (;;) {
        size_t child = 2 * at + 1;
        if (child + 1 < count && heap[child + 1]->expires_at < heap[child]->expires_at)
            child++;
        if (child >= count || heap[child]->expires_at >= entry->expires_at)
            break;
        put(at, heap[child]);
        at = child;
    }
    put(at, entry);
}

bool expiry_add(struct entry *entry, int64_t at)
{
    if (count == capacity) {
        size_t grown = capacity == 0 ? 64 : capacity * 2;
        struct entry **larger = realloc(heap, grown * sizeof(struct entry *));
        if (larger == NULL)
            return false;
        heap = larger;
        capacity = grown;
    }
    entry->expires_at = at;
    settle(count++, entry);
    return true;
}

void expiry_remove(struct entry *entry)
{
    struct entry *last;
    if (entry->expires_at == 0)
        return;
    last = heap[--count];
    if (last != entry)
        settle(entry->heap_at, last);
    entry->expires_at = 0;
}

void expiry_moved(struct entry *entry)
{
    if (entry->expires_at != 0)
        heap[entry->heap_at] = entry;
}

void expiry_clear(void)
{
    free(heap);
    heap = NULL;
    count = 0;
    capacity = 0;
}

struct entry *expiry_first(void)
{
    return count == 0 ? NULL : heap[0];
}

size_t expiry_count(void)
{
    return count;
}
