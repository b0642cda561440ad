/* socketpair(2): a guest has no sockets that lead to itself. */
#include <errno.h>
#include <sys/socket.h>

int socketpair(int domain, int type, int protocol, int fds[2])
{
    (void)domain, (void)type, (void)protocol, (void)fds;
    errno = EOPNOTSUPP;
    return -1;
}
