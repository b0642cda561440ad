/* setsockopt(2). Options that have no meaning under Refrain (TCP_NODELAY and its kin, SO_REUSEPORT, IPV6_V6ONLY) are
 * accepted without a call to the host: there is no Nagle delay to turn off and no second listener to share with. */
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "abi.h"
#include "options.h"

int setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
    int option, error;
    if (level == IPPROTO_TCP || level == IPPROTO_IPV6 || (level == SOL_SOCKET && name == SO_REUSEPORT))
        return 0;
    option = level == SOL_SOCKET ? refrain_option(name) : -1;
    error = option < 0 ? ENOPROTOOPT : refrain_sock_setsockopt(fd, ABI_LEVEL_SOCKET, option, value, len);
    if (error != 0) {
        errno = error;
        return -1;
    }
    return 0;
}
