/* Commands on the connection and the server. */
#include <stdio.h>
#include <string.h>

#include "families.h"
#include "words.h"

size_t connected_clients;

static struct slice text(const char *string)
{
    return (struct slice){string, strlen(string)};
}

void command_ping(struct client *client, const struct slice *arguments, size_t count)
{
    if (count == 1)
        reply_status(client, "PONG");
    else
        reply_bulk(client, arguments[1]);
}

void command_echo(struct client *client, const struct slice *arguments, size_t count)
{
    (void)count;
    reply_bulk(client, arguments[1]);
}

void command_select(struct client *client, const struct slice *arguments, size_t count)
{
    int64_t index;
    (void)count;
    if (!parse_integer(arguments[1], &index))
        reply_error(client, NOT_AN_INTEGER);
    else if (index != 0)
        reply_error(client, "ERR DB index is out of range");
    else
        reply_status(client, "OK");
}

void command_quit(struct client *client, const struct slice *arguments, size_t count)
{
    (void)arguments;
    (void)count;
    reply_status(client, "OK");
    client->closing = true;
}

void command_hello(struct client *client, const struct slice *arguments, size_t count)
{
    (void)arguments;
    (void)count;
    reply_error(client, "NOPROTO unsupported protocol version");
}

void command_client(struct client *client, const struct slice *arguments, size_t count)
{
    if (word_is(arguments[1], "setinfo") && count == 4)
        reply_status(client, "OK");
    else if (word_is(arguments[1], "setname") && count == 3)
        reply_status(client, "OK");
    else if (word_is(arguments[1], "getname") && count == 2)
        reply_nil(client);
    else
        reply_error_about(client, "ERR unknown subcommand or wrong number of arguments for '", arguments[1],
                          "'. Try CLIENT HELP.");
}

void command_command(struct client *client, const struct slice *arguments, size_t count)
{
    if (count == 2 && word_is(arguments[1], "count"))
        reply_integer(client, (int64_t)command_count());
    else
        reply_array(client, 0);
}

struct setting {
    const char *name;
    const char *value;
};

static bool is_wanted(const char *name, const struct slice *patterns, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (matches(patterns[i], text(name)))
            return true;
    }
    return false;
}

void command_config(struct client *client, const struct slice *arguments, size_t count)
{
    char number[NUMBER_TEXT + 1] = {0};
    struct slice max = format_integer(number, (int64_t)table_max_bytes);
    struct setting settings[] = {{"save", ""}, {"appendonly", "no"}, {"databases", "1"}, {"maxmemory", max.at}};
    size_t wanted = 0;
    if (!word_is(arguments[1], "get") || count < 3) {
        reply_error_about(client, "ERR unknown subcommand or wrong number of arguments for '", arguments[1],
                          "'. Try CONFIG HELP.");
        return;
    }
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        wanted += is_wanted(settings[i].name, arguments + 2, count - 2);
    reply_array(client, 2 * wanted);
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        if (is_wanted(settings[i].name, arguments + 2, count - 2)) {
            reply_bulk(client, text(settings[i].name));
            reply_bulk(client, text(settings[i].value));
        }
    }
}

void command_info(struct client *client, const struct slice *arguments, size_t count)
{
    char info[512];
    int len;
    (void)arguments;
    (void)count;
    len = snprintf(info, sizeof info,
                   "# Server\r\nserver_name:kv-server\r\nredis_mode:standalone\r\n\r\n"
                   "# Clients\r\nconnected_clients:%zu\r\n\r\n"
                   "# Memory\r\nused_memory:%llu\r\nmaxmemory:%llu\r\nmaxmemory_policy:noeviction\r\n\r\n"
                   "# Keyspace\r\n",
                   connected_clients, (unsigned long long)table_bytes(), (unsigned long long)table_max_bytes);
    if (table_count() > 0)
        len += snprintf(info + len, sizeof info - (size_t)len, "db0:keys=%zu,expires=%zu,avg_ttl=0\r\n", table_count(),
                        table_expiring());
    reply_bulk(client, (struct slice){info, (size_t)len});
}
