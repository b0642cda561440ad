/* gethostbyname(3), over getaddrinfo: the IPv4 addresses of a name. */
#include <netdb.h>
#include <string.h>

enum { MAX_ADDRESSES = 16 };

static int host_error;

int *refrain_h_errno(void)
{
    return &host_error;
}

const char *hstrerror(int error)
{
    switch (error) {
    case 0:
        return "no error";
    case HOST_NOT_FOUND:
        return "unknown host";
    case TRY_AGAIN:
        return "try again";
    case NO_DATA:
        return "no address";
    default:
        return "look-up failed";
    }
}

static int code(int error)
{
    return error == EAI_NONAME || error == EAI_NODATA ? HOST_NOT_FOUND : error == EAI_AGAIN ? TRY_AGAIN : NO_RECOVERY;
}

struct hostent *gethostbyname(const char *name)
{
    static char text[NI_MAXHOST];
    static struct in_addr addresses[MAX_ADDRESSES];
    static char *list[MAX_ADDRESSES + 1], *no_aliases[1];
    static struct hostent result;
    const struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    int error, count = 0;
    if (strlen(name) >= sizeof text) {
        host_error = HOST_NOT_FOUND;
        return NULL;
    }
    error = getaddrinfo(name, NULL, &hints, &found);
    if (error != 0) {
        host_error = code(error);
        return NULL;
    }
    for (struct addrinfo *one = found; one != NULL && count < MAX_ADDRESSES; one = one->ai_next) {
        struct sockaddr_in in;
        memcpy(&in, one->ai_addr, sizeof in);
        addresses[count] = in.sin_addr;
        list[count] = (char *)&addresses[count];
        count++;
    }
    list[count] = NULL;
    freeaddrinfo(found);
    strcpy(text, name);
    result = (struct hostent){text, no_aliases, AF_INET, sizeof(struct in_addr), list};
    host_error = 0;
    return &result;
}
