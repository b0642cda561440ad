/* The commands. Replies and errors are worded as Redis 7 words them. */
#ifndef COMMANDS_H
#define COMMANDS_H

#include "client.h"

/* Executes one request and adds its reply. `count` is at least 1. */
void command_execute(struct client *client, const struct slice *arguments, size_t count);

#endif
