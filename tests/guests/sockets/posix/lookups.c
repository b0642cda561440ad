/* Names, numbers and services. By itself a program finds no name but localhost. */
#include <arpa/inet.h>
#include <netdb.h>

#include "check.h"

static int family_of(const char *node, const char *service, int family, int flags, uint16_t *port)
{
    struct addrinfo hints = {.ai_family = family, .ai_socktype = SOCK_STREAM, .ai_flags = flags}, *found = NULL;
    int error = getaddrinfo(node, service, &hints, &found), answer;
    if (error != 0)
        return error;
    answer = found->ai_family;
    if (answer == AF_INET)
        *port = ntohs(((struct sockaddr_in *)(void *)found->ai_addr)->sin_port);
    else
        *port = ntohs(((struct sockaddr_in6 *)(void *)found->ai_addr)->sin6_port);
    freeaddrinfo(found);
    return answer;
}

static void addresses(void)
{
    uint16_t port = 1;
    IS(family_of("127.0.0.1", "80", AF_UNSPEC, 0, &port), AF_INET);
    IS(port, 80);
    IS(family_of("::1", "http", AF_INET6, 0, &port), AF_INET6);
    IS(port, 80);
    IS(family_of(NULL, "8080", AF_INET6, AI_PASSIVE, &port), AF_INET6);
    IS(port, 8080);
    IS(family_of("localhost", "81", AF_INET, 0, &port), AF_INET);
    IS(port, 81);
    IS(family_of("localhost", NULL, AF_INET, AI_NUMERICHOST, &port), EAI_NONAME);
    IS(family_of("localhost", "http", AF_INET, AI_NUMERICSERV, &port), EAI_NONAME);
    IS(family_of("::1", NULL, AF_INET, 0, &port), EAI_NONAME);
    IS(family_of(NULL, NULL, AF_INET, 0, &port), EAI_NONAME);
    IS(family_of("127.0.0.1", "65536", AF_INET, 0, &port), EAI_SERVICE);
    IS(family_of("127.0.0.1", "80", AF_UNIX, 0, &port), EAI_FAMILY);
    IS(family_of("no.such.name", "80", AF_INET, 0, &port) < 0, 1);
    IS(strcmp(gai_strerror(EAI_NONAME), "Name does not resolve"), 0);
    IS(strcmp(gai_strerror(1), "Unknown error"), 0);
}

static void hosts(void)
{
    struct hostent *host = gethostbyname("127.0.0.1");
    IS(host != NULL && host->h_addrtype == AF_INET && host->h_length == 4, 1);
    if (host == NULL)
        return;
    IS(memcmp(host->h_addr, "\x7f\0\0\1", 4), 0);
    IS(host->h_addr_list[1] == NULL && host->h_aliases[0] == NULL, 1);
    IS(strcmp(host->h_name, "127.0.0.1"), 0);
    IS(h_errno, 0);
    IS(gethostbyname("::1") == NULL, 1);
    IS(h_errno, HOST_NOT_FOUND);
    IS(strcmp(hstrerror(h_errno), "unknown host"), 0);
}

static void names(void)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(8080), .sin_addr.s_addr = inet_addr("10.1.2.3")};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    const struct sockaddr *any = (void *)&in, *any6 = (void *)&in6;
    char node[NI_MAXHOST], service[NI_MAXSERV];
    IS(getnameinfo(any, sizeof in, node, sizeof node, service, sizeof service, 0), 0);
    IS(strcmp(node, "10.1.2.3") == 0 && strcmp(service, "8080") == 0, 1);
    IS(getnameinfo(any6, sizeof in6, node, sizeof node, NULL, 0, NI_NUMERICHOST), 0);
    IS(strcmp(node, "::1"), 0);
    IS(getnameinfo(any, sizeof in, NULL, 0, service, sizeof service, NI_NUMERICSERV), 0);
    IS(getnameinfo(any, sizeof in, node, sizeof node, NULL, 0, NI_NAMEREQD), EAI_NONAME);
    IS(getnameinfo(any, sizeof in, node, 4, NULL, 0, 0), EAI_OVERFLOW);
    IS(getnameinfo(any, sizeof in, NULL, 0, service, 4, 0), EAI_OVERFLOW);
    IS(getnameinfo(any, 2, node, sizeof node, NULL, 0, 0), EAI_FAMILY);
    IS(getnameinfo(any, sizeof in, NULL, 0, NULL, 0, 0), EAI_NONAME);
    IS(inet_addr("not an address"), INADDR_NONE);
    IS(strcmp(inet_ntoa(in.sin_addr), "10.1.2.3"), 0);
}

static void services(void)
{
    struct servent *service = getservbyname("https", "tcp");
    struct protoent *protocol = getprotobyname("udp");
    IS(service != NULL && ntohs((uint16_t)service->s_port) == 443 && strcmp(service->s_proto, "tcp") == 0, 1);
    service = getservbyport(htons(53), "udp");
    IS(service != NULL && strcmp(service->s_name, "domain") == 0 && strcmp(service->s_proto, "udp") == 0, 1);
    IS(getservbyname("no such service", NULL) == NULL, 1);
    IS(getservbyport(htons(1), NULL) == NULL, 1);
    IS(protocol != NULL && protocol->p_proto == IPPROTO_UDP, 1);
    IS(getprotobyname("sctp") == NULL, 1);
}

void lookups(void)
{
    addresses();
    hosts();
    names();
    services();
}
