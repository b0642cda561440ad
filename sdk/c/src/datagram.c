/* MSG_TRUNC: a receive that tells the length of the whole datagram. */
#include "datagram.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "descriptor.h"

enum { LONGEST = 65507, MAX_VECTORS = 1024 };

int refrain_whole_datagram(int fd, struct vectors *vectors)
{
    struct iovec *longer;
    size_t size = (vectors->count + 1) * sizeof *longer;
    int type, error = refrain_socket_type(fd, &type);
    if (error != 0 || type != SOCK_DGRAM)
        return error;
    if (vectors->count > MAX_VECTORS)
        return EMSGSIZE;
    longer = malloc(size + LONGEST);
    if (longer == NULL)
        return ENOMEM;
    memcpy(longer, vectors->at, vectors->count * sizeof *longer);
    longer[vectors->count] = (struct iovec){(uint8_t *)longer + size, LONGEST};
    *vectors = (struct vectors){longer, vectors->count + 1, longer};
    return 0;
}
