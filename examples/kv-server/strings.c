/* Commands on values. */
#include <string.h>

#include "clock.h"
#include "families.h"
#include "words.h"

static void reply_value(struct client *client, const struct entry *entry)
{
    if (entry == NULL)
        reply_nil(client);
    else
        reply_bulk(client, entry_value(entry));
}

void command_get(struct client *client, const struct slice *arguments, size_t count)
{
    (void)count;
    reply_value(client, table_find(arguments[1]));
}

/* Sets a value and its expiry; false with the error replied when memory is short. */
static bool store(struct client *client, struct slice key, struct slice value, int64_t expires_at)
{
    struct entry *entry = table_set(key, value);
    if (entry != NULL && table_expire(entry, expires_at))
        return true;
    if (entry != NULL)
        table_delete(key);
    reply_error(client, OUT_OF_MEMORY);
    return false;
}

struct set_options {
    bool only_new, only_old, get, keep_ttl, has_expiry;
    int64_t unit_ms;
    bool absolute;
    struct slice expiry;
};

static bool parse_set_options(const struct slice *arguments, size_t count, struct set_options *out)
{
    static const struct {
        const char *name;
        int64_t unit_ms;
        bool absolute;
    } expiries[] = {{"ex", 1000, false}, {"px", 1, false}, {"exat", 1000, true}, {"pxat", 1, true}};
    for (size_t i = 3; i < count; i++) {
        bool known = true;
        if (word_is(arguments[i], "nx"))
            out->only_new = true;
        else if (word_is(arguments[i], "xx"))
            out->only_old = true;
        else if (word_is(arguments[i], "get"))
            out->get = true;
        else if (word_is(arguments[i], "keepttl"))
            out->keep_ttl = true;
        else
            known = false;
        for (size_t e = 0; !known && e < sizeof expiries / sizeof *expiries; e++) {
            if (!word_is(arguments[i], expiries[e].name) || i + 1 == count || out->has_expiry)
                continue;
            out->unit_ms = expiries[e].unit_ms;
            out->absolute = expiries[e].absolute;
            out->expiry = arguments[++i];
            out->has_expiry = known = true;
        }
        if (!known)
            return false;
    }
    return !(out->only_new && out->only_old) && !(out->keep_ttl && out->has_expiry);
}

void command_set(struct client *client, const struct slice *arguments, size_t count)
{
    struct set_options options = {0};
    struct entry *entry;
    int64_t expires_at = 0;
    if (count > 3 && !parse_set_options(arguments, count, &options)) {
        reply_error(client, SYNTAX_ERROR);
        return;
    }
    if (options.has_expiry &&
        !parse_expiry(client, options.expiry, options.unit_ms, options.absolute, "set", &expires_at))
        return;
    if (options.only_new || options.only_old || options.get || options.keep_ttl) {
        entry = table_find(arguments[1]);
        if (options.get)
            reply_value(client, entry);
        if ((options.only_new && entry != NULL) || (options.only_old && entry == NULL)) {
            if (!options.get)
                reply_nil(client);
            return;
        }
        if (options.keep_ttl && entry != NULL)
            expires_at = entry->expires_at;
    }
    if (store(client, arguments[1], arguments[2], expires_at) && !options.get)
        reply_status(client, "OK");
}

void command_setnx(struct client *client, const struct slice *arguments, size_t count)
{
    (void)count;
    if (table_find(arguments[1]) != NULL)
        reply_integer(client, 0);
    else if (store(client, arguments[1], arguments[2], 0))
        reply_integer(client, 1);
}

static void set_with_expiry(struct client *client, const struct slice *arguments, int64_t unit_ms, const char *command)
{
    int64_t expires_at;
    if (parse_expiry(client, arguments[2], unit_ms, false, command, &expires_at) &&
        store(client, arguments[1], arguments[3], expires_at))
        reply_status(client, "OK");
}

void command_setex(struct client *client, const struct slice *arguments, size_t count)
{
    (void)count;
    set_with_expiry(client, arguments, 1000, "setex");
}

void command_psetex(struct client *client, const struct slice *arguments, size_t count)
{
    (void)count;
    set_with_expiry(client, arguments, 1, "psetex");
}

void command_getset(struct client *client, const struct slice *arguments, size_t count)
{
    (void)count;
    reply_value(client, table_find(arguments[1]));
    store(client, arguments[1], arguments[2], 0);
}

void command_getdel(struct client *client, const struct slice *arguments, size_t count)
{
    (void)count;
    reply_value(client, table_find(arguments[1]));
    table_delete(arguments[1]);
}

void command_mget(struct client *client, const struct slice *arguments, size_t count)
{
    reply_array(client, count - 1);
    for (size_t i = 1; i < count; i++)
        reply_value(client, table_find(arguments[i]));
}

void command_mset(struct client *client, const struct slice *arguments, size_t count)
{
    if (count % 2 == 0) {
        reply_error(client, "ERR wrong number of arguments for 'mset' command");
        return;
    }
    for (size_t i = 1; i < count; i += 2) {
        if (!store(client, arguments[i], arguments[i + 1], 0))
            return;
    }
    reply_status(client, "OK");
}

static void add_to(struct client *client, struct slice key, int64_t by)
{
    struct entry *entry = table_find(key);
    char text[NUMBER_TEXT];
    int64_t value = 0;
    if (entry != NULL && !parse_integer(entry_value(entry), &value)) {
        reply_error(client, NOT_AN_INTEGER);
        return;
    }
    if (__builtin_add_overflow(value, by, &value)) {
        reply_error(client, "ERR increment or decrement would overflow");
        return;
    }
    if (table_set(key, format_integer(text, value)) == NULL)
        reply_error(client, OUT_OF_MEMORY);
    else
        reply_integer(client, value);
}

void command_incr(struct client *client, const struct slice *arguments, size_t count)
{
    (void)count;
    add_to(client, arguments[1], 1);
}

void command_decr(struct client *client, const struct slice *arguments, size_t count)
{
    (void)count;
    add_to(client, arguments[1], -1);
}

void command_incrby(struct client *client, const struct slice *arguments, size_t count)
{
    int64_t by;
    (void)count;
    if (parse_integer(arguments[2], &by))
        add_to(client, arguments[1], by);
    else
        reply_error(client, NOT_AN_INTEGER);
}

void command_decrby(struct client *client, const struct slice *arguments, size_t count)
{
    int64_t by;
    (void)count;
    if (!parse_integer(arguments[2], &by))
        reply_error(client, NOT_AN_INTEGER);
    else if (by == INT64_MIN)
        reply_error(client, "ERR decrement would overflow");
    else
        add_to(client, arguments[1], -by);
}

void command_append(struct client *client, const struct slice *arguments, size_t count)
{
    struct entry *entry = table_find(arguments[1]);
    (void)count;
    if (entry != NULL && entry->value_len + arguments[2].len > MAX_BULK) {
        reply_error(client, "ERR string exceeds maximum allowed size (proto-max-bulk-len)");
        return;
    }
    entry = table_append(arguments[1], arguments[2]);
    if (entry == NULL)
        reply_error(client, OUT_OF_MEMORY);
    else
        reply_integer(client, entry->value_len);
}

void command_strlen(struct client *client, const struct slice *arguments, size_t count)
{
    const struct entry *entry = table_find(arguments[1]);
    (void)count;
    reply_integer(client, entry == NULL ? 0 : entry->value_len);
}
