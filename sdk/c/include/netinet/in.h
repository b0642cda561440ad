/* Adds the IPv6 option numbers that wasi-libc leaves out to its <netinet/in.h>. */
#ifndef REFRAIN_NETINET_IN_H
#define REFRAIN_NETINET_IN_H

/* <sys/socket.h> of this folder first, so that every includer sees the added calls. */
#include <sys/socket.h>
#include_next <netinet/in.h>

#ifndef IPV6_V6ONLY
#define IPV6_V6ONLY 26
#endif

#endif
