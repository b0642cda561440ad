/* Options of sockets, and of what is none. */
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "check.h"
#include "pair.h"

static int option(int fd, int level, int name)
{
    int value = -7;
    socklen_t len = sizeof value;
    IS(getsockopt(fd, level, name, &value, &len), 0);
    IS(len, sizeof value);
    return value;
}

/* Setting one is taken and changes nothing. */
static void means_nothing(int fd, int level, int name, int value)
{
    const int on = 1;
    IS(setsockopt(fd, level, name, &on, sizeof on), 0);
    IS(option(fd, level, name), value);
    FAILS(setsockopt(NO_FD, level, name, &on, sizeof on), EBADF);
    FAILS(setsockopt(0, level, name, &on, sizeof on), ENOTSOCK);
    FAILS(getsockopt(NO_FD, level, name, &(int){0}, &(socklen_t){sizeof(int)}), EBADF);
    FAILS(getsockopt(0, level, name, &(int){0}, &(socklen_t){sizeof(int)}), ENOTSOCK);
}

static void unknown(int fd, int level, int name)
{
    const int on = 1;
    FAILS(setsockopt(fd, level, name, &on, sizeof on), ENOPROTOOPT);
    FAILS(getsockopt(fd, level, name, &(int){0}, &(socklen_t){sizeof(int)}), ENOPROTOOPT);
    FAILS(setsockopt(NO_FD, level, name, &on, sizeof on), EBADF);
}

static void answered(const struct pair *pair)
{
    int datagrams = socket(AF_INET, SOCK_DGRAM, 0), first = 0;
    socklen_t len = 1;
    IS(option(pair->near, SOL_SOCKET, SO_TYPE), SOCK_STREAM);
    IS(option(datagrams, SOL_SOCKET, SO_TYPE), SOCK_DGRAM);
    IS(option(pair->listener, SOL_SOCKET, SO_ACCEPTCONN), 1);
    IS(option(pair->near, SOL_SOCKET, SO_ACCEPTCONN), 0);
    IS(option(pair->near, SOL_SOCKET, SO_ERROR), 0);
    IS(option(pair->near, SOL_SOCKET, SO_SNDBUF) > 0, 1);
    IS(option(pair->near, SOL_SOCKET, SO_RCVBUF) > 0, 1);
    IS(getsockopt(pair->near, SOL_SOCKET, SO_TYPE, &first, &len), 0);
    IS(len, 1);
    IS(first, SOCK_STREAM);
    IS(close(datagrams), 0);
}

static void levels(const struct pair *pair)
{
    static const int of_socket[] = {SO_REUSEADDR, SO_REUSEPORT, SO_KEEPALIVE, SO_BROADCAST,
                                    SO_DONTROUTE, SO_OOBINLINE, SO_RCVLOWAT};
    static const int of_tcp[] = {TCP_CORK,         TCP_KEEPIDLE, TCP_KEEPINTVL,    TCP_KEEPCNT,
                                 TCP_DEFER_ACCEPT, TCP_QUICKACK, TCP_USER_TIMEOUT, TCP_FASTOPEN};
    struct timeval limit = {1, 0};
    for (size_t i = 0; i < sizeof of_socket / sizeof *of_socket; i++)
        means_nothing(pair->near, SOL_SOCKET, of_socket[i], 0);
    for (size_t i = 0; i < sizeof of_tcp / sizeof *of_tcp; i++)
        means_nothing(pair->near, IPPROTO_TCP, of_tcp[i], 0);
    means_nothing(pair->near, IPPROTO_TCP, TCP_NODELAY, 1);
    means_nothing(pair->listener, IPPROTO_IPV6, IPV6_V6ONLY, 0);
    means_nothing(pair->near, IPPROTO_IP, IP_TOS, 0);
    means_nothing(pair->near, IPPROTO_IP, IP_TTL, 0);
    IS(setsockopt(pair->near, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
    FAILS(setsockopt(pair->near, IPPROTO_TCP, TCP_NODELAY, NULL, 0), EINVAL);
    unknown(pair->near, IPPROTO_TCP, TCP_ULP);
    unknown(pair->near, IPPROTO_TCP, TCP_MD5SIG);
    unknown(pair->near, IPPROTO_IP, IP_ADD_MEMBERSHIP);
    unknown(pair->near, IPPROTO_IPV6, IPV6_JOIN_GROUP);
    unknown(pair->near, SOL_SOCKET, 999);
    unknown(pair->near, 12345, 1);
}

void options(void)
{
    struct pair pair = connected(7021);
    answered(&pair);
    levels(&pair);
    close_pair(&pair);
}
