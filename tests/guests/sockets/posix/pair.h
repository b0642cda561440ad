/* Sockets that reach each other. */
#ifndef PAIR_H
#define PAIR_H

#include <netinet/in.h>

/* 127.0.0.1 with this port. */
struct sockaddr_in loopback(int port);

/* Two ends of a connection. */
struct pair {
    int listener, near, far;
};

/* Listens at the port and connects to it. */
struct pair connected(int port);
void close_pair(const struct pair *pair);

#endif
