/* Conversion between struct sockaddr and the address form of the extension. */
#ifndef REFRAIN_ADDRESS_H
#define REFRAIN_ADDRESS_H

#include <netinet/in.h>
#include <stdint.h>
#include <sys/socket.h>

#include "abi.h"

/* An address in the extension's form. `view` points into `bytes`: do not copy this structure. */
struct native_address {
    uint8_t bytes[16];
    struct abi_address view;
    uint32_t port;
};

/* Reads `address`; returns 0 or an errno. */
int refrain_address_read(const struct sockaddr *address, socklen_t len, struct native_address *out);

/* Makes room for an address of any family. */
void refrain_address_prepare(struct native_address *out);

/* Writes the address that a call of the extension left in `from`, truncated to `*len` as POSIX wants. */
void refrain_address_write(const struct native_address *from, uint32_t type, struct sockaddr *address, socklen_t *len);

#endif
