/* inet_ntoa(3), for wasi-libc before 2026. */
#include <arpa/inet.h>
#include <sys/socket.h>

char *inet_ntoa(struct in_addr address)
{
    static char text[INET_ADDRSTRLEN];
    return (char *)inet_ntop(AF_INET, &address, text, sizeof text);
}
