/* inet_addr(3), for wasi-libc before 2026. */
#include <arpa/inet.h>

in_addr_t inet_addr(const char *text)
{
    struct in_addr address;
    return inet_aton(text, &address) ? address.s_addr : INADDR_NONE;
}
