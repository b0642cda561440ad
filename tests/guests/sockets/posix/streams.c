/* Connections of the program with itself. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "check.h"
#include "pair.h"

struct sockaddr_in loopback(int port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

struct pair connected(int port)
{
    struct sockaddr_in at = loopback(port);
    struct pair pair = {socket(AF_INET, SOCK_STREAM, 0), socket(AF_INET, SOCK_STREAM, IPPROTO_TCP), -1};
    IS(bind(pair.listener, (struct sockaddr *)&at, sizeof at), 0);
    IS(listen(pair.listener, 8), 0);
    IS(connect(pair.near, (struct sockaddr *)&at, sizeof at), 0);
    pair.far = accept(pair.listener, NULL, NULL);
    IS(pair.far > 2, 1);
    return pair;
}

void close_pair(const struct pair *pair)
{
    IS(close(pair->near), 0);
    IS(close(pair->far), 0);
    IS(close(pair->listener), 0);
}

static void making(void)
{
    int ends[2], fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    IS((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0, 1);
    IS(close(fd), 0);
    FAILS(socket(AF_UNIX, SOCK_STREAM, 0), EAFNOSUPPORT);
    FAILS(socket(AF_INET, SOCK_RAW, 0), EPROTONOSUPPORT);
    FAILS(socket(AF_INET, SOCK_STREAM, IPPROTO_UDP), EPROTONOSUPPORT);
    FAILS(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), EOPNOTSUPP);
    IS(SUN_LEN(&((struct sockaddr_un){AF_UNIX, "/run/x"})), sizeof(sa_family_t) + 6);
}

static void wrong_addresses(void)
{
    struct sockaddr_in at = loopback(7000);
    struct sockaddr_un local = {AF_UNIX, "/run/x"};
    int fd = socket(AF_INET, SOCK_STREAM, 0), file = open("/file", O_RDWR);
    FAILS(bind(fd, (struct sockaddr *)&at, 4), EINVAL);
    FAILS(bind(fd, NULL, 0), EINVAL);
    FAILS(bind(fd, (struct sockaddr *)&local, sizeof local), EAFNOSUPPORT);
    FAILS(bind(NO_FD, (struct sockaddr *)&at, sizeof at), EBADF);
    FAILS(bind(file, (struct sockaddr *)&at, sizeof at), ENOTSOCK);
    FAILS(connect(fd, (struct sockaddr *)&at, 4), EINVAL);
    FAILS(connect(fd, (struct sockaddr *)&at, sizeof at), ECONNREFUSED);
    FAILS(connect(NO_FD, (struct sockaddr *)&at, sizeof at), EBADF);
    FAILS(listen(NO_FD, 1), EBADF);
    FAILS(listen(file, 1), ENOTSOCK);
    FAILS(accept(NO_FD, NULL, NULL), EBADF);
    FAILS(accept4(fd, NULL, NULL, 1), EINVAL);
    FAILS(recv(NO_FD, &at, 1, 0), EBADF);
    FAILS(recv(file, &at, 1, 0), ENOTSOCK);
    FAILS(send(NO_FD, &at, 1, 0), EBADF);
    FAILS(send(file, &at, 1, MSG_NOSIGNAL), ENOTSOCK);
    IS(close(file), 0);
    IS(close(fd), 0);
}

static void address_is(int (*call)(int, struct sockaddr *, socklen_t *), int fd, int port)
{
    struct sockaddr_in found = {0};
    socklen_t len = sizeof found;
    IS(call(fd, (struct sockaddr *)&found, &len), 0);
    IS(len, sizeof found);
    IS(found.sin_family, AF_INET);
    IS(ntohs(found.sin_port), port);
    len = 2;
    IS(call(fd, (struct sockaddr *)&found, &len), 0);
    IS(len, sizeof found);
}

static void addresses(const struct pair *pair, int port)
{
    struct sockaddr_in found = {0};
    socklen_t len = sizeof found;
    address_is(getsockname, pair->listener, port);
    address_is(getsockname, pair->far, port);
    address_is(getpeername, pair->near, port);
    IS(getsockname(pair->near, (struct sockaddr *)&found, &len), 0);
    address_is(getpeername, pair->far, ntohs(found.sin_port));
    FAILS(getpeername(pair->listener, (struct sockaddr *)&found, &len), ENOTCONN);
    FAILS(getsockname(NO_FD, (struct sockaddr *)&found, &len), EBADF);
}

static void flags(const struct pair *pair)
{
    char got[16];
    FAILS(recv(pair->far, got, sizeof got, MSG_DONTWAIT), EAGAIN);
    IS((fcntl(pair->far, F_GETFL) & O_NONBLOCK), 0);
    FAILS(recv(pair->far, got, sizeof got, MSG_OOB), EOPNOTSUPP);
    FAILS(send(pair->near, "x", 1, MSG_OOB), EOPNOTSUPP);
    IS(send(pair->near, "abcdef", 6, MSG_NOSIGNAL | MSG_DONTWAIT), 6);
    IS(recv(pair->far, got, sizeof got, MSG_PEEK), 6);
    IS(recv(pair->far, got, 2, MSG_TRUNC), 2);
    IS(memcmp(got, "ab", 2), 0);
    IS(recv(pair->far, got, 4, MSG_WAITALL | MSG_NOSIGNAL), 4);
    IS(memcmp(got, "cdef", 4), 0);
}

static void several_buffers(const struct pair *pair)
{
    char first[3], second[8];
    struct iovec out[] = {{"abc", 3}, {"defg", 4}}, in[] = {{first, sizeof first}, {second, sizeof second}};
    struct iovec empty_first[] = {{first, 0}, {second, sizeof second}};
    struct msghdr message = {.msg_iov = out, .msg_iovlen = 2};
    struct sockaddr_in peer = {0};
    socklen_t len = sizeof peer;
    IS(sendmsg(pair->far, &message, MSG_NOSIGNAL), 7);
    message.msg_iov = empty_first;
    IS(recvmsg(pair->near, &message, MSG_PEEK), 7);
    IS(memcmp(second, "abcdefg", 7), 0);
    message.msg_iov = in;
    message.msg_name = &peer;
    message.msg_namelen = sizeof peer;
    IS(recvmsg(pair->near, &message, MSG_TRUNC), 7);
    IS(memcmp(first, "abc", 3) == 0 && memcmp(second, "defg", 4) == 0, 1);
    IS(message.msg_flags, 0);
    IS(message.msg_controllen, 0);
    message.msg_controllen = 1;
    FAILS(sendmsg(pair->far, &message, 0), EOPNOTSUPP);
    IS(sendto(pair->near, "hi", 2, 0, NULL, 0), 2);
    IS(recvfrom(pair->far, second, sizeof second, 0, (struct sockaddr *)&peer, &len), 2);
    IS(memcmp(second, "hi", 2), 0);
    FAILS(recvfrom(pair->far, second, sizeof second, MSG_OOB, NULL, NULL), EOPNOTSUPP);
    FAILS(recvmsg(pair->far, &message, MSG_DONTWAIT), EAGAIN);
}

static void ends(const struct pair *pair)
{
    char byte;
    IS(shutdown(pair->near, SHUT_WR), 0);
    IS(recv(pair->far, &byte, 1, 0), 0);
    FAILS(send(pair->near, "x", 1, MSG_NOSIGNAL), EPIPE);
    IS(send(pair->far, "x", 1, MSG_NOSIGNAL), 1);
    IS(recv(pair->near, &byte, 1, 0), 1);
    FAILS(shutdown(NO_FD, SHUT_RD), EBADF);
}

static void accepting(void)
{
    struct pair pair = connected(7002);
    struct sockaddr_in at = loopback(7002), peer = {0};
    struct sockaddr_in6 at6 = {.sin6_family = AF_INET6, .sin6_port = htons(7002), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    socklen_t len = sizeof peer;
    int more = socket(AF_INET, SOCK_STREAM, 0), six = socket(AF_INET6, SOCK_STREAM, 0), fd;
    IS(connect(more, (struct sockaddr *)&at, sizeof at), 0);
    fd = accept4(pair.listener, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    IS(len, sizeof peer);
    IS(peer.sin_family, AF_INET);
    IS(peer.sin_addr.s_addr, htonl(INADDR_LOOPBACK));
    FAILS(recv(fd, &len, sizeof len, 0), EAGAIN);
    IS(fcntl(pair.listener, F_SETFL, O_NONBLOCK), 0);
    FAILS(accept(pair.listener, NULL, NULL), EAGAIN);
    IS(connect(six, (struct sockaddr *)&at6, sizeof at6), 0);
    len = sizeof at6;
    IS(getpeername(six, (struct sockaddr *)&at6, &len), 0);
    IS(len, sizeof at6);
    IS(at6.sin6_family, AF_INET6);
    IS(close(six), 0);
    IS(close(fd), 0);
    IS(close(more), 0);
    close_pair(&pair);
}

void streams(void)
{
    struct pair pair;
    making();
    wrong_addresses();
    pair = connected(7001);
    addresses(&pair, 7001);
    flags(&pair);
    several_buffers(&pair);
    ends(&pair);
    close_pair(&pair);
    accepting();
}
