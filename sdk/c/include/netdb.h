/* <netdb.h> for preview 1, where wasi-libc has none: names are looked up by the host, services from a short list. */
#ifndef REFRAIN_NETDB_H
#define REFRAIN_NETDB_H

#include <netinet/in.h>
#include <refrain/symbol.h>
#include <sys/socket.h>

#ifdef __cplusplus
extern "C" {
#endif

struct addrinfo {
    int ai_flags;
    int ai_family;
    int ai_socktype;
    int ai_protocol;
    socklen_t ai_addrlen;
    struct sockaddr *ai_addr;
    char *ai_canonname;
    struct addrinfo *ai_next;
};

#define AI_PASSIVE 0x01
#define AI_CANONNAME 0x02
#define AI_NUMERICHOST 0x04
#define AI_V4MAPPED 0x08
#define AI_ALL 0x10
#define AI_ADDRCONFIG 0x20
#define AI_NUMERICSERV 0x400

#define EAI_BADFLAGS (-1)
#define EAI_NONAME (-2)
#define EAI_AGAIN (-3)
#define EAI_FAIL (-4)
#define EAI_NODATA (-5)
#define EAI_FAMILY (-6)
#define EAI_SOCKTYPE (-7)
#define EAI_SERVICE (-8)
#define EAI_MEMORY (-10)
#define EAI_SYSTEM (-11)
#define EAI_OVERFLOW (-12)

#define NI_MAXHOST 255
#define NI_MAXSERV 32
#define NI_NUMERICHOST 0x01
#define NI_NUMERICSERV 0x02
#define NI_NOFQDN 0x04
#define NI_NAMEREQD 0x08
#define NI_DGRAM 0x10

struct hostent {
    char *h_name;
    char **h_aliases;
    int h_addrtype;
    int h_length;
    char **h_addr_list;
};
#define h_addr h_addr_list[0]

struct servent {
    char *s_name;
    char **s_aliases;
    int s_port;
    char *s_proto;
};

struct protoent {
    char *p_name;
    char **p_aliases;
    int p_proto;
};

#define HOST_NOT_FOUND 1
#define TRY_AGAIN 2
#define NO_RECOVERY 3
#define NO_DATA 4
#define NO_ADDRESS NO_DATA

int getaddrinfo(const char *__restrict, const char *__restrict, const struct addrinfo *__restrict,
                struct addrinfo **__restrict) REFRAIN_SYMBOL(getaddrinfo);
void freeaddrinfo(struct addrinfo *) REFRAIN_SYMBOL(freeaddrinfo);
const char *gai_strerror(int) REFRAIN_SYMBOL(gai_strerror);
int getnameinfo(const struct sockaddr *__restrict, socklen_t, char *__restrict, socklen_t, char *__restrict, socklen_t,
                int) REFRAIN_SYMBOL(getnameinfo);
struct hostent *gethostbyname(const char *) REFRAIN_SYMBOL(gethostbyname);
struct servent *getservbyname(const char *, const char *) REFRAIN_SYMBOL(getservbyname);
struct servent *getservbyport(int, const char *) REFRAIN_SYMBOL(getservbyport);
struct protoent *getprotobyname(const char *) REFRAIN_SYMBOL(getprotobyname);
const char *hstrerror(int) REFRAIN_SYMBOL(hstrerror);
int *refrain_h_errno(void);
#define h_errno (*refrain_h_errno())

#ifdef __cplusplus
}
#endif

#endif
