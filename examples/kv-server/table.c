/* The keys and their values. See table.h. */
#include "table.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "expiry.h"

enum {
    MIN_BUCKETS = 64,
    STEP_BUCKETS = 4,     /* buckets moved with each command while the table is being resized */
    STEP_EMPTY = 64,      /* empty ones passed over at most in doing so */
    SHRINK_BELOW = 8,     /* the table is halved when fewer than one bucket in so many has a key */
    APPEND_SPARE = 65536, /* room that an append leaves for the next, at most */
};

/* While resizing, keys are in `old` from bucket `moved` on and in `now` otherwise. */
struct buckets {
    struct entry **at;
    size_t count; /* a power of two, or 0 */
};

uint64_t table_max_bytes = 64 * 1024 * 1024;

static struct buckets now, old;
static size_t moved;
static size_t keys;
static uint64_t bytes;

static uint32_t hash(struct slice key)
{
    uint64_t h = 0x9e3779b97f4a7c15u ^ key.len;
    size_t at = 0;
    for (; key.len - at >= 8; at += 8) {
        uint64_t word;
        memcpy(&word, key.at + at, 8);
        h = (h ^ word) * 0xd6e8feb86659fd93u;
        h ^= h >> 32;
    }
    if (at < key.len) {
        uint64_t word = 0;
        memcpy(&word, key.at + at, key.len - at);
        h = (h ^ word) * 0xd6e8feb86659fd93u;
        h ^= h >> 32;
    }
    h *= 0xd6e8feb86659fd93u;
    return (uint32_t)(h >> 32);
}

static uint64_t entry_bytes(const struct entry *entry)
{
    return ENTRY_BYTES + (uint64_t)entry->key_len + entry->room;
}

/* ---- buckets ---- */

static bool resize(size_t count)
{
    struct entry **at = calloc(count, sizeof *at);
    if (at == NULL)
        return false;
    old = now;
    now = (struct buckets){at, count};
    moved = 0;
    bytes += (uint64_t)count * BUCKET_BYTES;
    return true;
}

static void end_resize(void)
{
    bytes -= (uint64_t)old.count * BUCKET_BYTES;
    free(old.at);
    old = (struct buckets){NULL, 0};
}

static void move_bucket(size_t index)
{
    struct entry *entry = old.at[index];
    while (entry != NULL) {
        struct entry *next = entry->next;
        struct entry **home = &now.at[entry->hash & (now.count - 1)];
        entry->next = *home;
        *home = entry;
        entry = next;
    }
    old.at[index] = NULL;
}

/* Goes on with resizing, or begins it when the table has become too full or too empty. */
static void tend(void)
{
    if (old.count > 0) {
        size_t full = 0;
        for (size_t seen = 0; moved < old.count && full < STEP_BUCKETS && seen < STEP_EMPTY; seen++, moved++) {
            full += old.at[moved] != NULL;
            move_bucket(moved);
        }
        if (moved == old.count)
            end_resize();
    } else if (keys > now.count) {
        resize(now.count * 2);
    } else if (now.count > MIN_BUCKETS && keys < now.count / SHRINK_BELOW) {
        resize(now.count / 2);
    }
}

/* The link that points to a key's entry, or where its chain ends. */
static struct entry **link_of(struct slice key, uint32_t h)
{
    size_t old_index = old.count > 0 ? h & (old.count - 1) : 0;
    struct entry **link;
    if (old.count > 0 && old_index >= moved)
        link = &old.at[old_index];
    else
        link = &now.at[h & (now.count - 1)];
    while (*link != NULL) {
        struct entry *entry = *link;
        if (entry->hash == h && entry->key_len == key.len && memcmp(entry->bytes, key.at, key.len) == 0)
            break;
        link = &entry->next;
    }
    return link;
}

static void remove_at(struct entry **link)
{
    struct entry *entry = *link;
    *link = entry->next;
    expiry_remove(entry);
    bytes -= entry_bytes(entry);
    keys--;
    free(entry);
}

/* The live entry's link, NULL when there is none. */
static struct entry **find_link(struct slice key, uint32_t h)
{
    struct entry **link;
    if (now.count == 0)
        return NULL;
    link = link_of(key, h);
    if (*link == NULL)
        return NULL;
    if ((*link)->expires_at != 0 && (*link)->expires_at <= clock_ms()) {
        remove_at(link);
        return NULL;
    }
    return link;
}

/* ---- entries ---- */

static uint32_t rounded(size_t len)
{
    return (uint32_t)((len + 15) & ~(size_t)15);
}

static struct entry *insert(struct slice key, uint32_t h, size_t room)
{
    struct entry *entry, **link;
    if (now.count == 0 && !resize(MIN_BUCKETS))
        return NULL;
    entry = malloc(sizeof *entry + key.len + room);
    if (entry == NULL)
        return NULL;
    *entry = (struct entry){.hash = h, .key_len = (uint32_t)key.len, .room = (uint32_t)room};
    memcpy(entry->bytes, key.at, key.len);
    link = link_of(key, h);
    *link = entry;
    keys++;
    bytes += entry_bytes(entry);
    return entry;
}

/* Changes the room for the value; the entry may move. */
static struct entry *make_room(struct entry **link, size_t room)
{
    struct entry *entry = realloc(*link, sizeof *entry + (*link)->key_len + room);
    if (entry == NULL)
        return NULL;
    bytes += room;
    bytes -= entry->room;
    entry->room = (uint32_t)room;
    *link = entry;
    expiry_moved(entry);
    return entry;
}

struct entry *table_find(struct slice key)
{
    struct entry **link;
    tend();
    link = find_link(key, hash(key));
    return link == NULL ? NULL : *link;
}

struct entry *table_set(struct slice key, struct slice value)
{
    uint32_t h = hash(key);
    size_t room = rounded(value.len);
    struct entry **link, *entry;
    tend();
    link = find_link(key, h);
    if (link == NULL)
        entry = insert(key, h, room);
    else if ((*link)->room < room || (*link)->room / 4 > room + 16)
        entry = make_room(link, room);
    else
        entry = *link;
    if (entry == NULL)
        return NULL;
    memcpy(entry->bytes + entry->key_len, value.at, value.len);
    entry->value_len = (uint32_t)value.len;
    return entry;
}

struct entry *table_append(struct slice key, struct slice tail)
{
    struct entry **link, *entry;
    tend();
    link = find_link(key, hash(key));
    if (link == NULL)
        return table_set(key, tail);
    entry = *link;
    if (entry->room - entry->value_len < tail.len) {
        size_t needed = entry->value_len + tail.len;
        entry = make_room(link, rounded(needed + (needed < APPEND_SPARE ? needed : APPEND_SPARE)));
        if (entry == NULL)
            return NULL;
    }
    memcpy(entry->bytes + entry->key_len + entry->value_len, tail.at, tail.len);
    entry->value_len += (uint32_t)tail.len;
    return entry;
}

bool table_delete(struct slice key)
{
    struct entry **link;
    tend();
    link = find_link(key, hash(key));
    if (link == NULL)
        return false;
    remove_at(link);
    return true;
}

static void free_buckets(struct buckets *buckets)
{
    for (size_t i = 0; i < buckets->count; i++) {
        for (struct entry *entry = buckets->at[i]; entry != NULL;) {
            struct entry *next = entry->next;
            free(entry);
            entry = next;
        }
    }
    free(buckets->at);
    *buckets = (struct buckets){NULL, 0};
}

void table_clear(void)
{
    expiry_clear();
    free_buckets(&old);
    free_buckets(&now);
    keys = 0;
    bytes = 0;
}

bool table_expire(struct entry *entry, int64_t at)
{
    expiry_remove(entry);
    return at == 0 || expiry_add(entry, at);
}

bool table_expire_due(size_t max)
{
    for (size_t i = 0; i < max; i++) {
        struct entry *entry = expiry_first();
        if (entry == NULL || entry->expires_at > clock_ms())
            return false;
        remove_at(link_of(entry_key(entry), entry->hash));
        tend();
    }
    return true;
}

int64_t table_next_expiry(void)
{
    struct entry *entry = expiry_first();
    return entry == NULL ? 0 : entry->expires_at;
}

size_t table_count(void)
{
    return keys;
}

size_t table_expiring(void)
{
    return expiry_count();
}

uint64_t table_bytes(void)
{
    return bytes;
}

static void visit_buckets(const struct buckets *buckets, void (*visit)(const struct entry *, void *), void *context)
{
    for (size_t i = 0; i < buckets->count; i++) {
        for (const struct entry *entry = buckets->at[i]; entry != NULL; entry = entry->next)
            visit(entry, context);
    }
}

void table_each(void (*visit)(const struct entry *entry, void *context), void *context)
{
    visit_buckets(&old, visit, context);
    visit_buckets(&now, visit, context);
}
