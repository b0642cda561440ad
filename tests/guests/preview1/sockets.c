/* The four socket functions on what is no socket, and on none at all; what they do is checked by servers. */
#include "preview1.h"

int main(void) {
    u32 dir = scratch("sockets.test"), out = 0;
    u16 flags = 0;
    char byte = 0;
    struct vector vector = {&byte, 1};
    put_file(dir, "file", "x");
    u32 file = must_open(dir, "file", 0, RW, 0);
    const u32 descriptors[] = {0, 1, 2, dir, file, NO_FD};
    for (u32 i = 0; i < 6; i++) {
        u32 fd = descriptors[i], error = fd == NO_FD ? BADF : NOTSOCK;
        CHECK(w_sock_accept(fd, 0, &out), error);
        CHECK(w_sock_recv(fd, &vector, 1, 0, &out, &flags), error);
        CHECK(w_sock_send(fd, &vector, 1, 0, &out), error);
        for (u32 how = 1; how <= 3; how++)
            CHECK(w_sock_shutdown(fd, how), error);
    }
    CHECK(w_sock_shutdown(file, 0), INVAL);
    CHECK(w_sock_shutdown(file, 4), INVAL);
    CHECK(w_sock_accept(file, 32, &out), INVAL);
    CHECK(w_sock_recv(file, &vector, 1, 4, &out, &flags), INVAL);
    CHECK(w_sock_send(file, &vector, 1, 1, &out), INVAL);
    CHECK(w_sock_accept(file, 0, NOWHERE + 6), FAULT);
    CHECK(w_sock_recv(file, &vector, 1, 0, NOWHERE + 6, &flags), NOTSOCK);
    CHECK(w_sock_recv(file, NOWHERE, 1, 0, &out, &flags), NOTSOCK);
    CHECK(w_sock_send(file, NOWHERE, 1, 0, &out), NOTSOCK);
    return end_of_checks("sockets");
}
