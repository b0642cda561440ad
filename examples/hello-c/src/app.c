/* An HTTP service: greets, echoes, and tells its environment and the time. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "answers.h"
#include "http.h"

extern char **environ;

/* The body goes back as it comes in, however long it is. */
static void echo(struct http_request *request)
{
    char piece[16384];
    ptrdiff_t size;
    if (!http_begin(request, 200, http_header(request, "content-type")))
        return;
    while ((size = http_read(request, piece, sizeof piece)) > 0) {
        if (!http_write(request, piece, (size_t)size))
            return;
    }
}

void handle(struct http_request *request)
{
    char text[65536];
    fprintf(stderr, "INFO %s %s\n", request->method, request->path);
    if (strcmp(request->method, "POST") == 0) {
        echo(request);
    } else if (strcmp(request->method, "GET") != 0 && strcmp(request->method, "HEAD") != 0) {
        /* The host sends no body to HEAD. */
        http_not_allowed(request, "GET, HEAD, POST");
    } else if (strcmp(request->path, "/") == 0) {
        greeting(request->query, text, sizeof text);
        http_text(request, 200, text);
    } else if (strcmp(request->path, "/env") == 0) {
        environment(environ, text, sizeof text);
        http_text(request, 200, text);
    } else if (strcmp(request->path, "/time") == 0) {
        snprintf(text, sizeof text, "%lld\n", (long long)time(NULL));
        http_text(request, 200, text);
    } else {
        http_text(request, 404, "404 Not Found\n");
    }
}
