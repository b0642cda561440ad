/* The numbers that the extension gives to options of level SOL_SOCKET. */
#ifndef REFRAIN_OPTIONS_H
#define REFRAIN_OPTIONS_H

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

#endif
