/* getaddrinfo(3). Missing and numeric hosts with missing and numeric services are answered here; everything else is
 * asked of the host, which answers at most MAX_RESULTS addresses. Without a socket type in the hints the answers are
 * for SOCK_STREAM. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "abi.h"

enum { MAX_RESULTS = 16, MAX_NAME = 255 };

/* The extension's records. `sa_data` begins with the port; an IPv6 address has its flow label before it. */
struct abi_sockaddr {
    uint8_t family;
    uint32_t data_len;
    uint8_t *data;
};

struct abi_addrinfo {
    uint16_t flags;
    uint8_t family;
    uint8_t socktype;
    uint8_t protocol;
    uint32_t addrlen;
    struct abi_sockaddr *addr;
    char *canonname;
    uint32_t canonname_len;
    struct abi_addrinfo *next;
};

_Static_assert(sizeof(struct abi_addrinfo) == 28, "layout of the extension");

/* One result and its address in one block, so that freeing is one call each. */
struct result {
    struct addrinfo info;
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } address;
};

struct request {
    int flags, family, socktype, protocol;
};

static int append(struct addrinfo ***tail, const struct request *request, int family, const void *address,
                  uint16_t port)
{
    struct result *result = calloc(1, sizeof *result);
    if (result == NULL)
        return EAI_MEMORY;
    if (family == AF_INET) {
        result->address.in.sin_family = AF_INET;
        result->address.in.sin_port = htons(port);
        memcpy(&result->address.in.sin_addr, address, 4);
        result->info.ai_addrlen = sizeof result->address.in;
    } else {
        result->address.in6.sin6_family = AF_INET6;
        result->address.in6.sin6_port = htons(port);
        memcpy(&result->address.in6.sin6_addr, address, 16);
        result->info.ai_addrlen = sizeof result->address.in6;
    }
    result->info.ai_family = family;
    result->info.ai_socktype = request->socktype;
    result->info.ai_protocol = request->protocol;
    result->info.ai_addr = &result->address.any;
    **tail = &result->info;
    *tail = &result->info.ai_next;
    return 0;
}

/* Turns hints into a complete request; returns 0 or an EAI code. */
static int check(const struct addrinfo *hints, struct request *out)
{
    *out = (struct request){0, AF_UNSPEC, SOCK_STREAM, IPPROTO_TCP};
    if (hints == NULL)
        return 0;
    out->flags = hints->ai_flags;
    out->family = hints->ai_family;
    if (out->family != AF_UNSPEC && out->family != AF_INET && out->family != AF_INET6)
        return EAI_FAMILY;
    if (hints->ai_socktype == SOCK_DGRAM || (hints->ai_socktype == 0 && hints->ai_protocol == IPPROTO_UDP)) {
        out->socktype = SOCK_DGRAM;
        out->protocol = IPPROTO_UDP;
    } else if (hints->ai_socktype != 0 && hints->ai_socktype != SOCK_STREAM) {
        return EAI_SOCKTYPE;
    }
    if (hints->ai_protocol != 0 && hints->ai_protocol != out->protocol)
        return EAI_SOCKTYPE;
    return 0;
}

/* 1 when the service is a number (or missing), 0 when it is a name, or an EAI code. */
static int numeric_service(const char *service, uint16_t *port)
{
    char *end;
    unsigned long value;
    *port = 0;
    if (service == NULL || *service == '\0')
        return 1;
    if (*service < '0' || *service > '9')
        return 0;
    value = strtoul(service, &end, 10);
    if (*end != '\0' || value > 65535)
        return EAI_SERVICE;
    *port = (uint16_t)value;
    return 1;
}

/* Answers without the host; returns 0 with `*done` set where it could, or an EAI code. */
static int local_answer(const char *node, const struct request *request, uint16_t port, struct addrinfo ***tail,
                        int *done)
{
    uint8_t bytes[16] = {0};
    *done = 1;
    if (node == NULL) {
        int passive = (request->flags & AI_PASSIVE) != 0;
        if (request->family != AF_INET6) {
            uint32_t in = htonl(passive ? INADDR_ANY : INADDR_LOOPBACK);
            return append(tail, request, AF_INET, &in, port);
        }
        return append(tail, request, AF_INET6, passive ? &in6addr_any : &in6addr_loopback, port);
    }
    if (inet_pton(AF_INET, node, bytes) == 1)
        return request->family == AF_INET6 ? EAI_NONAME : append(tail, request, AF_INET, bytes, port);
    if (inet_pton(AF_INET6, node, bytes) == 1)
        return request->family == AF_INET ? EAI_NONAME : append(tail, request, AF_INET6, bytes, port);
    *done = 0;
    return (request->flags & AI_NUMERICHOST) != 0 ? EAI_NONAME : 0;
}

static int host_error(int error)
{
    /* The extension's own codes for a failed look-up follow the errno values of preview 1. */
    static const int8_t codes[] = {EAI_FAMILY, EAI_AGAIN, EAI_BADFLAGS, EAI_FAIL,     EAI_FAMILY, EAI_MEMORY,
                                   EAI_NODATA, EAI_NONAME, EAI_SERVICE, EAI_SOCKTYPE, EAI_SYSTEM};
    if (error >= 77 && error <= 87)
        return codes[error - 77];
    if (error == ENOENT)
        return EAI_NONAME;
    if (error == EAGAIN)
        return EAI_AGAIN;
    errno = error;
    return EAI_SYSTEM;
}

static int host_answer(const char *node, const char *service, const struct request *request, struct addrinfo ***tail)
{
    struct abi_addrinfo records[MAX_RESULTS], hints, *first = records;
    struct abi_sockaddr addresses[MAX_RESULTS];
    uint8_t data[MAX_RESULTS][26];
    uint32_t count = 0;
    int error;
    memset(records, 0, sizeof records);
    memset(addresses, 0, sizeof addresses);
    memset(data, 0, sizeof data);
    for (int i = 0; i < MAX_RESULTS; i++) {
        addresses[i].data = data[i];
        addresses[i].data_len = sizeof data[i];
        records[i].addr = &addresses[i];
        records[i].next = i + 1 < MAX_RESULTS ? &records[i + 1] : NULL;
    }
    memset(&hints, 0, sizeof hints);
    hints.family = (uint8_t)(request->family == AF_INET6 ? ABI_INET6 : request->family == AF_INET ? ABI_INET4 : 0);
    hints.socktype = request->socktype == SOCK_DGRAM ? ABI_DATAGRAM : ABI_STREAM;
    hints.protocol = request->socktype == SOCK_DGRAM ? 2 : 1;
    if (service == NULL)
        service = "";
    error = refrain_sock_getaddrinfo(node, strlen(node), service, strlen(service), &hints, &first, MAX_RESULTS, &count);
    if (error != 0)
        return host_error(error);
    for (uint32_t i = 0; i < count && i < MAX_RESULTS; i++) {
        uint16_t port = (uint16_t)(data[i][0] << 8 | data[i][1]);
        int inet6 = records[i].family == ABI_INET6;
        error = append(tail, request, inet6 ? AF_INET6 : AF_INET, &data[i][inet6 ? 6 : 2], port);
        if (error != 0)
            return error;
    }
    return count == 0 ? EAI_NONAME : 0;
}

int getaddrinfo(const char *restrict node, const char *restrict service, const struct addrinfo *restrict hints,
                struct addrinfo **restrict out)
{
    struct addrinfo *list = NULL, **tail = &list;
    struct request request;
    uint16_t port;
    int done = 0, numeric;
    int error = check(hints, &request);
    if (error != 0)
        return error;
    if ((node == NULL && service == NULL) || (node != NULL && strlen(node) > MAX_NAME))
        return EAI_NONAME;
    numeric = numeric_service(service, &port);
    if (numeric < 0 || (numeric == 0 && (request.flags & AI_NUMERICSERV) != 0))
        return numeric < 0 ? numeric : EAI_NONAME;
    if (numeric == 1)
        error = local_answer(node, &request, port, &tail, &done);
    if (error == 0 && !done)
        error = host_answer(node == NULL ? "" : node, service, &request, &tail);
    if (error != 0) {
        freeaddrinfo(list);
        return error;
    }
    *out = list;
    return 0;
}
