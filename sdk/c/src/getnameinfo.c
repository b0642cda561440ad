/* getnameinfo(3): numbers. No address is looked up, so a name can be had for none. */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

static int host(const struct sockaddr *address, socklen_t len, char *out, socklen_t size, uint16_t *port)
{
    if (address->sa_family == AF_INET && len >= sizeof(struct sockaddr_in)) {
        struct sockaddr_in in;
        memcpy(&in, address, sizeof in);
        *port = ntohs(in.sin_port);
        return out == NULL || inet_ntop(AF_INET, &in.sin_addr, out, size) != NULL ? 0 : EAI_OVERFLOW;
    }
    if (address->sa_family == AF_INET6 && len >= sizeof(struct sockaddr_in6)) {
        struct sockaddr_in6 in6;
        memcpy(&in6, address, sizeof in6);
        *port = ntohs(in6.sin6_port);
        return out == NULL || inet_ntop(AF_INET6, &in6.sin6_addr, out, size) != NULL ? 0 : EAI_OVERFLOW;
    }
    return EAI_FAMILY;
}

int getnameinfo(const struct sockaddr *restrict address, socklen_t len, char *restrict node, socklen_t node_size,
                char *restrict service, socklen_t service_size, int flags)
{
    uint16_t port = 0;
    int error;
    if ((flags & NI_NAMEREQD) != 0 || (node == NULL && service == NULL))
        return EAI_NONAME;
    error = host(address, len, node_size > 0 ? node : NULL, node_size, &port);
    if (error == 0 && service != NULL && service_size > 0 &&
        snprintf(service, service_size, "%u", (unsigned)port) >= (int)service_size)
        error = EAI_OVERFLOW;
    return error;
}
