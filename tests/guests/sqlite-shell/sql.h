/* Statements in, lines out: one database for all sessions.
 *
 * A statement is answered by its rows, one a line with tabs between the columns, and a last line that begins with "-- ":
 * "-- 3 rows", "-- 2 changes" or "-- error: " with SQLite's words. In rows, tab, line feed, carriage return and backslash
 * are written \t, \n, \r and \\, NULL is \N, a blob is hexadecimal after \x, and a row that would begin with a minus
 * sign begins with \-, so that no row looks like a last line. */
#ifndef SQL_H
#define SQL_H

#include <stdbool.h>

#include "buffer.h"

enum {
    MAX_STATEMENT_BYTES = 256 * 1024,
    MAX_RESULT_BYTES = 4 * 1024 * 1024, /* of one statement: more is an error in its last line */
};

/* Opens the database, or ends the program with a word on standard error. */
void sql_open(const char *file);

/* Whether `text`, which ends with a line feed, is one or more whole statements. */
bool sql_is_complete(const char *text);

/* Executes all statements in `text` and adds the answers. */
void sql_execute(const char *text, struct buffer *answer);

/* Whether a transaction is open. */
bool sql_in_transaction(void);

/* Takes the open transaction back. */
void sql_roll_back(void);

#endif
