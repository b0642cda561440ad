/* The commands by family, and what they share. */
#ifndef FAMILIES_H
#define FAMILIES_H

#include "client.h"
#include "table.h"

#define OUT_OF_MEMORY "OOM command not allowed when used memory > 'maxmemory'."
#define NOT_AN_INTEGER "ERR value is not an integer or out of range"
#define SYNTAX_ERROR "ERR syntax error"

typedef void command_run(struct client *client, const struct slice *arguments, size_t count);

enum { WRITES = 1 }; /* is refused when memory is short */

struct command {
    const char *name;
    size_t least, most; /* arguments with the name; most 0 is any number */
    int flags;
    command_run *run;
};

size_t command_count(void);

/* An error with a client's word in it. */
void reply_error_about(struct client *client, const char *before, struct slice subject, const char *after);

/* The time that an argument names, in milliseconds since 1970. `*at` may lie in the past. False, with the error
 * replied, for no number or one out of range. */
bool parse_expiry(struct client *client, struct slice word, int64_t unit_ms, bool absolute, const char *command,
                  int64_t *at);

/* strings.c */
command_run command_get, command_set, command_setnx, command_setex, command_psetex, command_getset, command_getdel,
    command_mget, command_mset, command_incr, command_decr, command_incrby, command_decrby, command_append,
    command_strlen;
/* keys.c */
command_run command_del, command_exists, command_expire, command_pexpire, command_expireat, command_pexpireat,
    command_ttl, command_pttl, command_persist, command_keys, command_type, command_dbsize, command_flush;
/* server.c */
command_run command_ping, command_echo, command_select, command_quit, command_hello, command_client, command_command,
    command_config, command_info;

/* Clients connected; kept by the poll loop. */
extern size_t connected_clients;

#endif
