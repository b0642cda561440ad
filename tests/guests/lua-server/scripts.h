/* Lua for all sessions: one state, whose globals outlive a session. There are no finalizers.
 *
 * A chunk is one or more lines. Its answer is what it printed, one line each after "> ", and a last line: "= " with its
 * results, separated by tabs, or "! " with the error in Lua's words. Line feeds in them are written \n. */
#ifndef SCRIPTS_H
#define SCRIPTS_H

#include <stdbool.h>

#include "buffer.h"

enum {
    MAX_CHUNK_BYTES = 64 * 1024,
    MAX_ANSWER_BYTES = 1024 * 1024,
    MAX_INSTRUCTIONS = 50 * 1000 * 1000, /* of one chunk, about */
    MAX_LUA_BYTES = 64 * 1024 * 1024,
};

/* Makes the state, and runs all files of `folder` that end in .lua, in the order of their names. Ends the program with a word
 * on standard error when one of them fails. */
void scripts_start(const char *folder);

/* Runs a chunk and adds the answer; false, and nothing is added, when it goes on in another line. */
bool scripts_run(const char *chunk, size_t len, struct buffer *answer);

#endif
