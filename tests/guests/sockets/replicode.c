/* A RepliCode program, by its imports: a listener that is never bound, raw buffers, a yield. It answers each line of a
 * client with the line before it, one client after the other. */
#include <string.h>

#define PREVIEW1(name) __attribute__((import_module("wasi_snapshot_preview1"), import_name(name)))

PREVIEW1("sock_open") int sock_open(int domain, int type, int protocol, int *fd);
PREVIEW1("sock_listen") int sock_listen(int fd, int backlog);
PREVIEW1("sock_accept") int sock_accept(int fd, int flags, int *accepted);
PREVIEW1("sock_recv") int sock_recv(int fd, void *data, int size, int flags, int *received, int *out_flags);
PREVIEW1("sock_send") int sock_send(int fd, const void *data, int size, int flags, int *sent);
PREVIEW1("sock_shutdown") int sock_shutdown(int fd, int how);
__attribute__((import_module("env"), import_name("__builtin_rt_yield"))) void rt_yield(void);

static char kept[256] = "nothing\n";
static int kept_size = 8;

static int line(int client, char *out)
{
    int size = 0, received = 0;
    while (size < (int)sizeof kept) {
        if (sock_recv(client, out + size, 1, 0, &received, NULL) != 0 || received <= 0)
            return 0;
        if (out[size++] == '\n')
            return size;
    }
    return 0;
}

static void serve(int client)
{
    char text[sizeof kept];
    int size, sent;
    while ((size = line(client, text)) > 0) {
        if (sock_send(client, kept, kept_size, 0, &sent) != 0 || sent != kept_size)
            return;
        memcpy(kept, text, (size_t)size);
        kept_size = size;
        rt_yield();
    }
}

int main(void)
{
    int listener, client;
    if (sock_open(2, 1, 0, &listener) != 0 || sock_listen(listener, 5) != 0)
        return 1;
    for (;;) {
        if (sock_accept(listener, 0, &client) == 0) {
            serve(client);
            sock_shutdown(client, 3);
        }
    }
}
