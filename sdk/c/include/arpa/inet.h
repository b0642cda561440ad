/* Adds inet_addr and inet_ntoa, which wasi-libc before 2026 does not declare, to its <arpa/inet.h>. */
#ifndef REFRAIN_ARPA_INET_H
#define REFRAIN_ARPA_INET_H

#include_next <arpa/inet.h>

#include <refrain/symbol.h>

#ifdef __cplusplus
extern "C" {
#endif

in_addr_t inet_addr(const char *) REFRAIN_SYMBOL(inet_addr);
char *inet_ntoa(struct in_addr) REFRAIN_SYMBOL(inet_ntoa);

#ifdef __cplusplus
}
#endif

#endif
