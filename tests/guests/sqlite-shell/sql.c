/* See sql.h. */
#include "sql.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sqlite3.h"

static sqlite3 *database;

static void require(int code, const char *what)
{
    if (code != SQLITE_OK) {
        fprintf(stderr, "sqlite-shell: cannot %s: %s\n", what, database ? sqlite3_errmsg(database) : "no memory");
        exit(1);
    }
}

/* What a client may not do to the server: reach other files, or change what keeps this one whole. */
static int authorize(void *context, int action, const char *first, const char *second, const char *schema,
                     const char *trigger)
{
    static const char *const fixed[] = {"journal_mode", "synchronous", "locking_mode", "temp_store_directory",
                                        "data_store_directory", "hard_heap_limit", "soft_heap_limit"};
    (void)context, (void)schema, (void)trigger;
    if (action == SQLITE_ATTACH || action == SQLITE_DETACH)
        return SQLITE_DENY;
    for (size_t i = 0; action == SQLITE_PRAGMA && second != NULL && i < sizeof fixed / sizeof *fixed; i++) {
        if (sqlite3_stricmp(first, fixed[i]) == 0)
            return SQLITE_DENY;
    }
    return SQLITE_OK;
}

void sql_open(const char *file)
{
    /* Nobody else has the file, and a lock that this program left behind would keep it out when it is started again. */
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    require(sqlite3_open_v2(file, &database, flags, "unix-none"), "open the database");
    /* The journal is for the end of this program in the middle of a transaction. What the machine loses when it ends is
     * the business of who keeps the files: under Refrain, of the log. SQLITE_SYNCHRONOUS is for measurements. */
    require(sqlite3_exec(database, "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = PERSIST", NULL, NULL, NULL),
            "choose the journal");
    char pragma[64];
    const char *synchronous = getenv("SQLITE_SYNCHRONOUS");
    snprintf(pragma, sizeof pragma, "PRAGMA synchronous = %.20s", synchronous ? synchronous : "OFF");
    require(sqlite3_exec(database, pragma, NULL, NULL, NULL), "choose what waits for the disk");
    sqlite3_hard_heap_limit64(256 << 20);
    sqlite3_limit(database, SQLITE_LIMIT_SQL_LENGTH, MAX_STATEMENT_BYTES);
    sqlite3_limit(database, SQLITE_LIMIT_LENGTH, MAX_RESULT_BYTES);
    sqlite3_set_authorizer(database, authorize, NULL);
}

bool sql_is_complete(const char *text)
{
    return sqlite3_complete(text) == 1;
}

bool sql_in_transaction(void)
{
    return !sqlite3_get_autocommit(database);
}

void sql_roll_back(void)
{
    sqlite3_exec(database, "ROLLBACK", NULL, NULL, NULL);
}

static void add_escaped(struct buffer *answer, const char *text, size_t len, bool first)
{
    static const char special[] = "\t\n\r\\", escaped[] = "tnr\\";
    if (first && len > 0 && text[0] == '-')
        buffer_add(answer, "\\", 1);
    while (len > 0) {
        size_t plain = 0;
        const char *found = NULL;
        while (plain < len && (text[plain] == '\0' || (found = strchr(special, text[plain])) == NULL))
            plain++;
        buffer_add(answer, text, plain);
        if (plain == len)
            return;
        buffer_add(answer, (char[]){'\\', escaped[found - special]}, 2);
        text += plain + 1;
        len -= plain + 1;
    }
}

static void add_blob(struct buffer *answer, const unsigned char *bytes, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    buffer_add(answer, "\\x", 2);
    for (size_t i = 0; i < len; i++)
        buffer_add(answer, (char[]){digits[bytes[i] >> 4], digits[bytes[i] & 15]}, 2);
}

static void add_row(struct buffer *answer, sqlite3_stmt *statement)
{
    for (int column = 0; column < sqlite3_column_count(statement); column++) {
        int type = sqlite3_column_type(statement, column);
        if (column > 0)
            buffer_add(answer, "\t", 1);
        if (type == SQLITE_NULL) {
            buffer_add(answer, "\\N", 2);
        } else if (type == SQLITE_BLOB) {
            const void *blob = sqlite3_column_blob(statement, column);
            add_blob(answer, blob, (size_t)sqlite3_column_bytes(statement, column));
        } else {
            const char *text = (const char *)sqlite3_column_text(statement, column);
            add_escaped(answer, text ? text : "", (size_t)sqlite3_column_bytes(statement, column), column == 0);
        }
    }
    buffer_add(answer, "\n", 1);
}

static void add_error(struct buffer *answer, const char *words)
{
    buffer_add_text(answer, "-- error: ");
    add_escaped(answer, words, strlen(words), false);
    buffer_add(answer, "\n", 1);
}

/* Runs one statement to its end. */
static bool run(sqlite3_stmt *statement, struct buffer *answer)
{
    size_t begin = answer->len, rows = 0;
    char last[64];
    sqlite3_int64 before = sqlite3_total_changes64(database);
    int code;
    while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
        rows++;
        add_row(answer, statement);
        if (answer->len - begin > MAX_RESULT_BYTES) {
            answer->len = begin;
            add_error(answer, "the result is larger than 4 MiB");
            return false;
        }
    }
    if (code != SQLITE_DONE) {
        add_error(answer, sqlite3_errmsg(database));
        return false;
    }
    if (sqlite3_column_count(statement) > 0)
        snprintf(last, sizeof last, "-- %zu %s\n", rows, rows == 1 ? "row" : "rows");
    else {
        long long changes = sqlite3_total_changes64(database) - before;
        snprintf(last, sizeof last, "-- %lld %s\n", changes, changes == 1 ? "change" : "changes");
    }
    buffer_add_text(answer, last);
    return true;
}

void sql_execute(const char *text, struct buffer *answer)
{
    while (*text != '\0') {
        sqlite3_stmt *statement = NULL;
        bool done = true;
        if (sqlite3_prepare_v2(database, text, -1, &statement, &text) != SQLITE_OK) {
            add_error(answer, sqlite3_errmsg(database));
            return;
        }
        /* White space and comments are no statement. */
        if (statement != NULL)
            done = run(statement, answer);
        sqlite3_finalize(statement);
        if (!done)
            return;
    }
}
