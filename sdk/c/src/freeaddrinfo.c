/* freeaddrinfo(3). */
#include <netdb.h>
#include <stdlib.h>

void freeaddrinfo(struct addrinfo *list)
{
    while (list != NULL) {
        struct addrinfo *next = list->ai_next;
        free(list);
        list = next;
    }
}
