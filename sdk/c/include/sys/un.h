/* <sys/un.h> in the place of wasi-libc's, whose address has no room for a path. There are no Unix sockets inside a
 * guest: socket(AF_UNIX, ...) fails with EAFNOSUPPORT. */
#ifndef REFRAIN_SYS_UN_H
#define REFRAIN_SYS_UN_H

#include <string.h>
#include <sys/socket.h>

struct sockaddr_un {
    sa_family_t sun_family;
    char sun_path[108];
};

#define SUN_LEN(address) (sizeof(sa_family_t) + strlen((address)->sun_path))

#endif
