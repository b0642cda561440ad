/* getservbyname(3), getservbyport(3) and getprotobyname(3), from short lists: there is no /etc/services. */
#include <arpa/inet.h>
#include <netdb.h>
#include <string.h>

static char *no_aliases[1];

static const struct {
    char name[8];
    uint16_t port;
} services[] = {{"ftp", 21},  {"ssh", 22},   {"telnet", 23}, {"smtp", 25},  {"domain", 53},
                {"http", 80}, {"pop3", 110}, {"ntp", 123},   {"imap", 143}, {"https", 443}};

static struct servent *service(size_t index, const char *protocol)
{
    static struct servent result;
    result = (struct servent){(char *)services[index].name, no_aliases, htons(services[index].port),
                              protocol != NULL && strcmp(protocol, "udp") == 0 ? "udp" : "tcp"};
    return &result;
}

struct servent *getservbyname(const char *name, const char *protocol)
{
    for (size_t i = 0; i < sizeof services / sizeof *services; i++)
        if (strcmp(services[i].name, name) == 0)
            return service(i, protocol);
    return NULL;
}

struct servent *getservbyport(int port, const char *protocol)
{
    for (size_t i = 0; i < sizeof services / sizeof *services; i++)
        if (htons(services[i].port) == port)
            return service(i, protocol);
    return NULL;
}

struct protoent *getprotobyname(const char *name)
{
    static struct protoent tcp = {"tcp", no_aliases, IPPROTO_TCP}, udp = {"udp", no_aliases, IPPROTO_UDP};
    return strcmp(name, "tcp") == 0 ? &tcp : strcmp(name, "udp") == 0 ? &udp : NULL;
}
