/* Conversion between struct sockaddr and the address form of the extension. */
#include "address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

int refrain_address_read(const struct sockaddr *address, socklen_t len, struct native_address *out)
{
    if (address == NULL || len < sizeof(sa_family_t))
        return EINVAL;
    out->view.buf = out->bytes;
    if (address->sa_family == AF_INET) {
        struct sockaddr_in in;
        if (len < sizeof in)
            return EINVAL;
        memcpy(&in, address, sizeof in);
        memcpy(out->bytes, &in.sin_addr, 4);
        out->view.len = 4;
        out->port = ntohs(in.sin_port);
        return 0;
    }
    if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        if (len < sizeof in6)
            return EINVAL;
        memcpy(&in6, address, sizeof in6);
        memcpy(out->bytes, &in6.sin6_addr, 16);
        out->view.len = 16;
        out->port = ntohs(in6.sin6_port);
        return 0;
    }
    return EAFNOSUPPORT;
}

void refrain_address_prepare(struct native_address *out)
{
    memset(out, 0, sizeof *out);
    out->view.buf = out->bytes;
    out->view.len = sizeof out->bytes;
}

void refrain_address_write(const struct native_address *from, uint32_t type, struct sockaddr *address, socklen_t *len)
{
    union {
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } full;
    socklen_t size;
    memset(&full, 0, sizeof full);
    /* Hosts name the family as 4 and 6, or by the extension's own numbers. */
    if (type == 6 || type == ABI_INET6) {
        full.in6.sin6_family = AF_INET6;
        full.in6.sin6_port = htons((uint16_t)from->port);
        memcpy(&full.in6.sin6_addr, from->bytes, 16);
        size = sizeof full.in6;
    } else {
        full.in.sin_family = AF_INET;
        full.in.sin_port = htons((uint16_t)from->port);
        memcpy(&full.in.sin_addr, from->bytes, 4);
        size = sizeof full.in;
    }
    memcpy(address, &full, *len < size ? *len : size);
    *len = size;
}
