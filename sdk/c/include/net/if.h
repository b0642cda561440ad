/* <net/if.h>, which wasi-libc has not. A guest has no interfaces. */
#ifndef REFRAIN_NET_IF_H
#define REFRAIN_NET_IF_H


#include <refrain/symbol.h>

#ifdef __cplusplus
extern "C" {
#endif

#define IF_NAMESIZE 16
#define IFNAMSIZ IF_NAMESIZE
#define IFF_UP 0x1
#define IFF_BROADCAST 0x2
#define IFF_LOOPBACK 0x8
#define IFF_RUNNING 0x40
#define IFF_MULTICAST 0x1000

unsigned if_nametoindex(const char *) REFRAIN_SYMBOL(if_nametoindex);
char *if_indextoname(unsigned, char *) REFRAIN_SYMBOL(if_indextoname);

#ifdef __cplusplus
}
#endif

#endif
