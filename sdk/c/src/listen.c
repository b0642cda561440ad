/* listen(2). */
#include <errno.h>
#include <sys/socket.h>

#include "abi.h"

int listen(int fd, int backlog)
{
    int error = refrain_sock_listen(fd, backlog < 0 ? 0 : backlog);
    if (error != 0) {
        errno = error;
        return -1;
    }
    return 0;
}
