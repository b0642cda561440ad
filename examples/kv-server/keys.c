/* Commands on keys and their expiry. */
#include <string.h>

#include "clock.h"
#include "families.h"
#include "words.h"

bool parse_expiry(struct client *client, struct slice word, int64_t unit_ms, bool absolute, const char *command,
                  int64_t *at)
{
    int64_t value;
    bool setting = strstr(command, "set") != NULL;
    if (!parse_integer(word, &value)) {
        reply_error(client, NOT_AN_INTEGER);
        return false;
    }
    /* Setting a value that is already gone is refused; expiring a key at once deletes it. */
    if ((setting && value <= 0) || __builtin_mul_overflow(value, unit_ms, &value) ||
        (!absolute && __builtin_add_overflow(value, clock_ms(), &value))) {
        reply_error_about(client, "ERR invalid expire time in '", (struct slice){command, strlen(command)},
                          "' command");
        return false;
    }
    *at = value <= 0 ? 1 : value;
    return true;
}

void command_del(struct client *client, const struct slice *arguments, size_t count)
{
    int64_t removed = 0;
    for (size_t i = 1; i < count; i++)
        removed += table_delete(arguments[i]);
    reply_integer(client, removed);
}

void command_exists(struct client *client, const struct slice *arguments, size_t count)
{
    int64_t found = 0;
    for (size_t i = 1; i < count; i++)
        found += table_find(arguments[i]) != NULL;
    reply_integer(client, found);
}

/* The conditions of EXPIRE. A key that never expires counts as expiring last. */
static bool condition_holds(struct slice condition, int64_t before, int64_t at, bool *known)
{
    *known = true;
    if (word_is(condition, "nx"))
        return before == 0;
    if (word_is(condition, "xx"))
        return before != 0;
    if (word_is(condition, "gt"))
        return before != 0 && at > before;
    if (word_is(condition, "lt"))
        return before == 0 || at < before;
    *known = false;
    return false;
}

static void expire(struct client *client, const struct slice *arguments, size_t count, int64_t unit_ms, bool absolute,
                   const char *command)
{
    struct entry *entry;
    int64_t at;
    bool known = true, holds = true;
    if (!parse_expiry(client, arguments[2], unit_ms, absolute, command, &at))
        return;
    entry = table_find(arguments[1]);
    if (count == 4)
        holds = condition_holds(arguments[3], entry == NULL ? 0 : entry->expires_at, at, &known);
    if (!known) {
        reply_error_about(client, "ERR Unsupported option ", arguments[3], "");
    } else if (entry == NULL || !holds) {
        reply_integer(client, 0);
    } else if (at <= clock_ms()) {
        table_delete(arguments[1]);
        reply_integer(client, 1);
    } else if (table_expire(entry, at)) {
        reply_integer(client, 1);
    } else {
        reply_error(client, OUT_OF_MEMORY);
    }
}

void command_expire(struct client *client, const struct slice *arguments, size_t count)
{
    expire(client, arguments, count, 1000, false, "expire");
}

void command_pexpire(struct client *client, const struct slice *arguments, size_t count)
{
    expire(client, arguments, count, 1, false, "pexpire");
}

void command_expireat(struct client *client, const struct slice *arguments, size_t count)
{
    expire(client, arguments, count, 1000, true, "expireat");
}

void command_pexpireat(struct client *client, const struct slice *arguments, size_t count)
{
    expire(client, arguments, count, 1, true, "pexpireat");
}

/* Milliseconds until a key expires, -1 for never, -2 when there is no such key. */
static int64_t time_left(struct slice key)
{
    const struct entry *entry = table_find(key);
    if (entry == NULL)
        return -2;
    return entry->expires_at == 0 ? -1 : entry->expires_at - clock_ms();
}

void command_ttl(struct client *client, const struct slice *arguments, size_t count)
{
    int64_t left = time_left(arguments[1]);
    (void)count;
    reply_integer(client, left < 0 ? left : left / 1000 + (left % 1000 >= 500));
}

void command_pttl(struct client *client, const struct slice *arguments, size_t count)
{
    (void)count;
    reply_integer(client, time_left(arguments[1]));
}

void command_persist(struct client *client, const struct slice *arguments, size_t count)
{
    struct entry *entry = table_find(arguments[1]);
    bool expires = entry != NULL && entry->expires_at != 0;
    (void)count;
    if (expires)
        table_expire(entry, 0);
    reply_integer(client, expires);
}

void command_type(struct client *client, const struct slice *arguments, size_t count)
{
    (void)count;
    reply_status(client, table_find(arguments[1]) == NULL ? "none" : "string");
}

/* Keys that have expired but are not removed yet would be counted and listed: away with them first. */
static void expire_all(void)
{
    while (table_expire_due(SIZE_MAX)) {
    }
}

struct search {
    struct client *client;
    struct slice pattern;
    size_t found;
};

static void count_key(const struct entry *entry, void *context)
{
    struct search *search = context;
    search->found += matches(search->pattern, entry_key(entry));
}

static void reply_key(const struct entry *entry, void *context)
{
    struct search *search = context;
    if (matches(search->pattern, entry_key(entry)))
        reply_bulk(search->client, entry_key(entry));
}

void command_keys(struct client *client, const struct slice *arguments, size_t count)
{
    struct search search = {client, arguments[1], 0};
    (void)count;
    expire_all();
    table_each(count_key, &search);
    reply_array(client, search.found);
    table_each(reply_key, &search);
}

void command_dbsize(struct client *client, const struct slice *arguments, size_t count)
{
    (void)arguments;
    (void)count;
    expire_all();
    reply_integer(client, (int64_t)table_count());
}

void command_flush(struct client *client, const struct slice *arguments, size_t count)
{
    if (count == 2 && !word_is(arguments[1], "async") && !word_is(arguments[1], "sync")) {
        reply_error(client, SYNTAX_ERROR);
        return;
    }
    table_clear();
    reply_status(client, "OK");
}
