/* A web server on Mongoose, which is not in this repository: one process, one loop of poll. */
#include "mongoose.h"

static void answer(struct mg_connection *connection, int event, void *data)
{
    struct mg_http_message *message = data;
    if (event == MG_EV_HTTP_MSG)
        mg_http_reply(connection, 200, "Content-Type: text/plain\r\n", "%.*s %.*s\n", (int)message->uri.len,
                      message->uri.buf, (int)message->body.len, message->body.buf);
}

int main(void)
{
    struct mg_mgr manager;
    mg_mgr_init(&manager);
    if (mg_http_listen(&manager, "http://0.0.0.0:80", answer, NULL) == NULL)
        return 1;
    for (;;)
        mg_mgr_poll(&manager, 1000);
}
