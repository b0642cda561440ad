/* See session.h. */
#include "session.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sql.h"

enum {
    RECEIVE_BYTES = 64 * 1024,
    MAX_INPUT_BYTES = MAX_STATEMENT_BYTES + RECEIVE_BYTES,
    MAX_LINES = 1000, /* of one statement */
    PAUSE_BYTES = 64 * 1024, /* of answers that wait: nothing is executed then */
};

void session_start(struct session *session, int fd)
{
    memset(session, 0, sizeof *session);
    session->fd = fd;
}

void session_end(struct session *session)
{
    buffer_free(&session->input);
    buffer_free(&session->output);
    close(session->fd);
}

static bool would_block(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

bool session_takes_more(const struct session *session)
{
    return !session->ended && session->output.len == 0 &&
           session->input.len - session->executed < MAX_INPUT_BYTES;
}

void session_receive(struct session *session)
{
    char *room;
    ssize_t got;
    if (!session_takes_more(session)) {
        /* It was not asked for: poll tells that the connection is over. */
        session->broken = true;
        return;
    }
    buffer_drop(&session->input, session->executed);
    session->searched -= session->executed;
    session->executed = 0;
    room = buffer_room(&session->input, RECEIVE_BYTES + 1);
    got = recv(session->fd, room, RECEIVE_BYTES, 0);
    if (got > 0)
        session->input.len += (size_t)got;
    else if (got == 0)
        session->ended = true;
    else if (!would_block())
        session->broken = true;
}

void session_send(struct session *session)
{
    while (session->sent < session->output.len && !session->broken) {
        ssize_t sent = send(session->fd, session->output.bytes + session->sent, session->output.len - session->sent,
                            MSG_NOSIGNAL);
        if (sent > 0)
            session->sent += (size_t)sent;
        else if (sent < 0 && would_block())
            return;
        else
            session->broken = true;
    }
    buffer_free(&session->output);
    session->sent = 0;
}

/* Says why nothing more is taken from a client, and ends its session. */
static bool refuse(struct session *session, const char *fault)
{
    buffer_add_text(&session->output, fault);
    buffer_free(&session->input);
    session->executed = session->searched = 0;
    session->ended = true;
    return false;
}

/* Executes what is between `executed` and `end` if that is whole. There is room for one byte more behind it: every
 * receive leaves it. */
static bool execute_if_complete(struct session *session, size_t end)
{
    char *text = session->input.bytes + session->executed;
    char after = session->input.bytes[end];
    session->input.bytes[end] = '\0';
    bool complete = sql_is_complete(text);
    if (complete)
        sql_execute(text, &session->output);
    session->input.bytes[end] = after;
    return complete;
}

bool session_execute(struct session *session)
{
    struct buffer *input = &session->input;
    char *found;
    if (session->broken || session->output.len - session->sent > PAUSE_BYTES)
        return false;
    while (session->searched < input->len &&
           (found = memchr(input->bytes + session->searched, '\n', input->len - session->searched)) != NULL) {
        size_t end = (size_t)(found - input->bytes) + 1;
        if (end - session->executed > MAX_STATEMENT_BYTES)
            break;
        session->searched = end;
        if (execute_if_complete(session, end)) {
            session->executed = end;
            session->tries = 0;
            return true;
        }
        /* Each try looks at everything from the beginning. */
        if (++session->tries > MAX_LINES)
            return refuse(session, "-- error: a statement has more than 1,000 lines\n");
    }
    if (input->len - session->executed > MAX_STATEMENT_BYTES)
        return refuse(session, "-- error: a statement is longer than 256 KiB\n");
    return false;
}

bool session_is_over(const struct session *session)
{
    return session->broken || (session->ended && session->output.len == 0);
}
