/* gai_strerror(3). */
#include <netdb.h>

const char *gai_strerror(int error)
{
    switch (error) {
    case 0:
        return "Success";
    case EAI_BADFLAGS:
        return "Invalid flags";
    case EAI_NONAME:
        return "Name does not resolve";
    case EAI_AGAIN:
        return "Try again";
    case EAI_FAIL:
        return "Non-recoverable error";
    case EAI_NODATA:
        return "Name has no usable address";
    case EAI_FAMILY:
        return "Unrecognized address family or invalid length";
    case EAI_SOCKTYPE:
        return "Unrecognized socket type";
    case EAI_SERVICE:
        return "Unrecognized service";
    case EAI_MEMORY:
        return "Out of memory";
    case EAI_SYSTEM:
        return "System error";
    case EAI_OVERFLOW:
        return "Overflow";
    default:
        return "Unknown error";
    }
}
