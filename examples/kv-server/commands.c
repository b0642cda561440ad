/* The table of commands and what they have in common; the commands are in strings.c, keys.c and server.c. */
#include "commands.h"

#include <string.h>

#include "families.h"
#include "words.h"

static const struct command commands[] = {
    {"get", 2, 2, 0, command_get},
    {"set", 3, 0, WRITES, command_set},
    {"incr", 2, 2, WRITES, command_incr},
    {"del", 2, 0, 0, command_del},
    {"mget", 2, 0, 0, command_mget},
    {"mset", 3, 0, WRITES, command_mset},
    {"exists", 2, 0, 0, command_exists},
    {"decr", 2, 2, WRITES, command_decr},
    {"incrby", 3, 3, WRITES, command_incrby},
    {"decrby", 3, 3, WRITES, command_decrby},
    {"append", 3, 3, WRITES, command_append},
    {"strlen", 2, 2, 0, command_strlen},
    {"setnx", 3, 3, WRITES, command_setnx},
    {"setex", 4, 4, WRITES, command_setex},
    {"psetex", 4, 4, WRITES, command_psetex},
    {"getset", 3, 3, WRITES, command_getset},
    {"getdel", 2, 2, 0, command_getdel},
    {"expire", 3, 4, 0, command_expire},
    {"pexpire", 3, 4, 0, command_pexpire},
    {"expireat", 3, 4, 0, command_expireat},
    {"pexpireat", 3, 4, 0, command_pexpireat},
    {"ttl", 2, 2, 0, command_ttl},
    {"pttl", 2, 2, 0, command_pttl},
    {"persist", 2, 2, 0, command_persist},
    {"keys", 2, 2, 0, command_keys},
    {"type", 2, 2, 0, command_type},
    {"unlink", 2, 0, 0, command_del},
    {"dbsize", 1, 1, 0, command_dbsize},
    {"flushall", 1, 2, 0, command_flush},
    {"flushdb", 1, 2, 0, command_flush},
    {"ping", 1, 2, 0, command_ping},
    {"echo", 2, 2, 0, command_echo},
    {"select", 2, 2, 0, command_select},
    {"quit", 1, 0, 0, command_quit},
    {"hello", 1, 0, 0, command_hello},
    {"client", 2, 0, 0, command_client},
    {"command", 1, 0, 0, command_command},
    {"config", 2, 0, 0, command_config},
    {"info", 1, 0, 0, command_info},
};

static const struct command *find(struct slice name)
{
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (word_is(name, commands[i].name))
            return &commands[i];
    }
    return NULL;
}

size_t command_count(void)
{
    return sizeof commands / sizeof *commands;
}

/* A part of an error message; a line feed in it would end the reply. */
static void reply_quoted(struct client *client, struct slice text)
{
    for (size_t i = 0; i < text.len; i++)
        reply_bytes(client, text.at[i] == '\r' || text.at[i] == '\n' ? " " : text.at + i, 1);
}

void reply_error_about(struct client *client, const char *before, struct slice subject, const char *after)
{
    reply_bytes(client, "-", 1);
    reply_bytes(client, before, strlen(before));
    if (subject.len > 128)
        subject.len = 128;
    reply_quoted(client, subject);
    reply_bytes(client, after, strlen(after));
    reply_bytes(client, "\r\n", 2);
}

static void unknown_command(struct client *client, const struct slice *arguments, size_t count)
{
    size_t left = 128;
    struct slice name = arguments[0];
    name.len = name.len < 128 ? name.len : 128;
    reply_bytes(client, "-ERR unknown command '", 22);
    reply_quoted(client, name);
    reply_bytes(client, "', with args beginning with: ", 29);
    for (size_t i = 1; i < count && left > 0; i++) {
        struct slice part = arguments[i];
        part.len = part.len < left ? part.len : left;
        reply_bytes(client, "'", 1);
        reply_quoted(client, part);
        reply_bytes(client, "' ", 2);
        left -= part.len + 3 < left ? part.len + 3 : left;
    }
    reply_bytes(client, "\r\n", 2);
}

/* Whether the request's arguments might not fit any more. */
static bool out_of_memory(const struct slice *arguments, size_t count)
{
    uint64_t needed = table_bytes();
    for (size_t i = 1; i < count; i++)
        needed += arguments[i].len + ENTRY_BYTES;
    return needed > table_max_bytes;
}

void command_execute(struct client *client, const struct slice *arguments, size_t count)
{
    const struct command *command = find(arguments[0]);
    if (command == NULL)
        unknown_command(client, arguments, count);
    else if (count < command->least || (command->most != 0 && count > command->most))
        reply_error_about(client, "ERR wrong number of arguments for '",
                          (struct slice){command->name, strlen(command->name)}, "' command");
    else if (command->flags == WRITES && out_of_memory(arguments, count))
        reply_error(client, OUT_OF_MEMORY);
    else
        command->run(client, arguments, count);
}
