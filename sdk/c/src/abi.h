/* The WasmEdge socket extension: functions inside the import module `wasi_snapshot_preview1`, of its first form but
 * for sock_recv_from, whose first form does not tell the port.
 * Every call returns an errno of WASI, whose numbers are wasi-libc's own. Ports are in host order, addresses in
 * network order. Each import is used by one source file alone, so that a program imports only what it calls. */
#ifndef REFRAIN_ABI_H
#define REFRAIN_ABI_H

#include <stddef.h>
#include <stdint.h>

#define PREVIEW1_FN(name, parameters)                                                                                 \
    __attribute__((import_module("wasi_snapshot_preview1"), import_name(#name))) int32_t refrain_##name parameters

enum { ABI_INET4 = 1, ABI_INET6 = 2 };
enum { ABI_DATAGRAM = 1, ABI_STREAM = 2 };
enum { ABI_LEVEL_SOCKET = 0 };

struct abi_address {
    uint8_t *buf;
    uint32_t len; /* 4 or 16; 128 where the bytes begin with the family, a uint16_t */
};

PREVIEW1_FN(sock_open, (int32_t family, int32_t type, uint32_t *fd));
PREVIEW1_FN(sock_bind, (int32_t fd, const struct abi_address *address, uint32_t port));
PREVIEW1_FN(sock_listen, (int32_t fd, int32_t backlog));
PREVIEW1_FN(sock_connect, (int32_t fd, const struct abi_address *address, uint32_t port));
PREVIEW1_FN(sock_getlocaladdr, (int32_t fd, struct abi_address *address, uint32_t *type, uint32_t *port));
PREVIEW1_FN(sock_getpeeraddr, (int32_t fd, struct abi_address *address, uint32_t *type, uint32_t *port));
PREVIEW1_FN(sock_setsockopt, (int32_t fd, int32_t level, int32_t name, const void *flag, uint32_t size));
PREVIEW1_FN(sock_getsockopt, (int32_t fd, int32_t level, int32_t name, void *flag, uint32_t *size));
PREVIEW1_FN(sock_getaddrinfo, (const char *node, uint32_t node_len, const char *service, uint32_t service_len,
                               const void *hints, void *results, uint32_t results_max, uint32_t *results_len));

struct iovec;
PREVIEW1_FN(sock_recv_from, (int32_t fd, const struct iovec *vectors, uint32_t count, struct abi_address *address,
                             uint32_t in_flags, uint32_t *port, uint32_t *received, uint32_t *out_flags));
PREVIEW1_FN(sock_send_to, (int32_t fd, const struct iovec *vectors, uint32_t count, const struct abi_address *address,
                           uint32_t port, uint32_t flags, uint32_t *sent));

#endif
