/* A WASIX sockets program, by its imports: it answers each line of a client with the line before it, one client after
 * the other, and knows its client's address. */
#include <stdint.h>
#include <string.h>

#define WASIX(name) __attribute__((import_module("wasix_32v1"), import_name(name)))

struct address {
    uint8_t family;
    uint8_t pad;
    uint8_t port[2];
    uint8_t ip[16];
};

struct vector {
    void *data;
    uint32_t size;
};

WASIX("sock_open") int sock_open(int family, int type, int protocol, uint32_t *fd);
WASIX("sock_set_opt_flag") int sock_set_opt_flag(uint32_t fd, int option, int value);
WASIX("sock_bind") int sock_bind(uint32_t fd, const struct address *address);
WASIX("sock_listen") int sock_listen(uint32_t fd, uint32_t backlog);
WASIX("sock_accept_v2") int sock_accept(uint32_t fd, int flags, uint32_t *accepted, struct address *peer);
WASIX("sock_addr_peer") int sock_addr_peer(uint32_t fd, struct address *peer);
WASIX("sock_recv") int sock_recv(uint32_t fd, struct vector *, uint32_t count, int, uint32_t *received, uint16_t *);
WASIX("sock_send") int sock_send(uint32_t fd, struct vector *, uint32_t count, int flags, uint32_t *sent);
WASIX("fd_close") int close_descriptor(uint32_t fd);
WASIX("thread_sleep") int thread_sleep(uint64_t nanoseconds);
WASIX("proc_exit2") void leave(int code);

enum { INET4 = 1, STREAM = 1, TCP = 6, REUSE_ADDRESS = 2 };

static char kept[256] = "nothing\n";
static uint32_t kept_size = 8;

static uint32_t line(uint32_t client, char *out)
{
    uint32_t size = 0, received = 0;
    uint16_t flags;
    while (size < sizeof kept) {
        struct vector vector = {out + size, 1};
        if (sock_recv(client, &vector, 1, 0, &received, &flags) != 0 || received == 0)
            return 0;
        if (out[size++] == '\n')
            return size;
    }
    return 0;
}

static void serve(uint32_t client)
{
    char text[sizeof kept];
    uint32_t size, sent;
    while ((size = line(client, text)) > 0) {
        struct vector vector = {kept, kept_size};
        if (thread_sleep(1000) != 0 || sock_send(client, &vector, 1, 0, &sent) != 0 || sent != kept_size)
            return;
        memcpy(kept, text, size);
        kept_size = size;
    }
}

int main(void)
{
    const struct address any = {INET4, 0, {80, 0}, {0}};
    struct address peer, again;
    uint32_t listener, client;
    if (sock_open(INET4, STREAM, TCP, &listener) != 0 || sock_set_opt_flag(listener, REUSE_ADDRESS, 1) != 0 ||
        sock_bind(listener, &any) != 0 || sock_listen(listener, 5) != 0)
        leave(1);
    for (;;) {
        if (sock_accept(listener, 0, &client, &peer) != 0)
            leave(2);
        if (sock_addr_peer(client, &again) != 0 || memcmp(&peer, &again, 8) != 0)
            leave(3);
        serve(client);
        close_descriptor(client);
    }
}
