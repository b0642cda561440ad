/* Options of sockets: the numbers that the extension gives to those of level SOL_SOCKET, and those that have no meaning
 * under Refrain. */
#ifndef REFRAIN_OPTIONS_H
#define REFRAIN_OPTIONS_H

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <sys/socket.h>

/* The extension's number of a SOL_SOCKET option, or -1. */
static inline int refrain_option(int name)
{
    switch (name) {
    case SO_REUSEADDR:
        return 0;
    case SO_ERROR:
        return 2;
    case SO_DONTROUTE:
        return 3;
    case SO_BROADCAST:
        return 4;
    case SO_SNDBUF:
        return 5;
    case SO_RCVBUF:
        return 6;
    case SO_KEEPALIVE:
        return 7;
    case SO_OOBINLINE:
        return 8;
    case SO_LINGER:
        return 9;
    case SO_RCVLOWAT:
        return 10;
    case SO_RCVTIMEO:
        return 11;
    case SO_SNDTIMEO:
        return 12;
    case SO_ACCEPTCONN:
        return 13;
    default:
        return -1;
    }
}

/* Whether an option is a number that nothing here depends on: packets and their delays are the proxy's, and there is no
 * second listener to share with. Not among them is what a program relies on once it was taken: groups of multicast,
 * control messages, signatures, TLS. */
static inline bool refrain_option_means_nothing(int level, int name)
{
    switch (level) {
    case SOL_SOCKET:
        return name == SO_REUSEPORT;
    case IPPROTO_TCP:
        return (name >= TCP_NODELAY && name <= TCP_WINDOW_CLAMP) || name == TCP_QUICKACK || name == TCP_USER_TIMEOUT ||
               name == TCP_THIN_LINEAR_TIMEOUTS || name == TCP_FASTOPEN || name == TCP_FASTOPEN_CONNECT ||
               name == TCP_NOTSENT_LOWAT;
    case IPPROTO_IP:
        return name == IP_TOS || name == IP_TTL || name == IP_MTU_DISCOVER || name == IP_FREEBIND ||
               name == IP_BIND_ADDRESS_NO_PORT;
    case IPPROTO_IPV6:
        return name == IPV6_V6ONLY || name == IPV6_TCLASS || name == IPV6_UNICAST_HOPS || name == IPV6_MTU_DISCOVER;
    default:
        return false;
    }
}

#endif
