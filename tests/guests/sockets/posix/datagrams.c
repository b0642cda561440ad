/* Datagrams of the program to itself; above all how long one is that was cut. */
#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "check.h"
#include "pair.h"

static int bound(int port)
{
    struct sockaddr_in at = loopback(port);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    IS(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    return fd;
}

static void send_to(int fd, int port, const char *text)
{
    struct sockaddr_in at = loopback(port);
    IS(sendto(fd, text, strlen(text), 0, (struct sockaddr *)&at, sizeof at), strlen(text));
}

static void cut(int from, int to)
{
    char got[4], more[4];
    struct iovec vectors[] = {{got, sizeof got}, {more, sizeof more}};
    struct sockaddr_in peer = {0};
    struct msghdr message = {.msg_iov = vectors, .msg_iovlen = 2, .msg_name = &peer, .msg_namelen = sizeof peer};
    socklen_t len = sizeof peer;
    send_to(from, 7011, "0123456789");
    IS(recv(to, got, sizeof got, MSG_PEEK), 4);
    IS(recv(to, got, sizeof got, MSG_PEEK | MSG_TRUNC), 10);
    IS(recv(to, NULL, 0, MSG_PEEK | MSG_TRUNC), 10);
    IS(recvfrom(to, got, sizeof got, MSG_PEEK | MSG_TRUNC, (struct sockaddr *)&peer, &len), 10);
    IS(memcmp(got, "0123", 4), 0);
    IS(ntohs(peer.sin_port), 7010);
    IS(recvmsg(to, &message, MSG_PEEK), 8);
    IS(message.msg_flags, MSG_TRUNC);
    message.msg_namelen = sizeof peer;
    IS(recvmsg(to, &message, MSG_TRUNC), 10);
    IS(message.msg_flags, MSG_TRUNC);
    IS(message.msg_namelen, sizeof peer);
    IS(memcmp(got, "0123", 4) == 0 && memcmp(more, "4567", 4) == 0, 1);
    FAILS(recv(to, got, sizeof got, MSG_DONTWAIT | MSG_TRUNC), EAGAIN);
    FAILS(recv(NO_FD, got, sizeof got, MSG_TRUNC), EBADF);
    FAILS(recvfrom(0, got, sizeof got, MSG_TRUNC, NULL, NULL), ENOTSOCK);
}

static void whole(int from, int to)
{
    static char long_one[65508];
    struct sockaddr_in at = loopback(7011);
    char got[4];
    send_to(from, 7011, "abc");
    IS(recv(to, got, sizeof got, MSG_TRUNC), 3);
    send_to(from, 7011, "");
    IS(recv(to, got, sizeof got, 0), 0);
    IS(connect(from, (struct sockaddr *)&at, sizeof at), 0);
    IS(send(from, long_one, 65507, 0), 65507);
    IS(recv(to, got, sizeof got, MSG_TRUNC), 65507);
    FAILS(send(from, long_one, 65508, 0), EMSGSIZE);
}

void datagrams(void)
{
    int from = bound(7010), to = bound(7011);
    cut(from, to);
    whole(from, to);
    IS(close(from), 0);
    IS(close(to), 0);
}
