/* select(2) and pselect(2) over poll. Nothing exceptional ever happens to a descriptor here. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/select.h>
#include <time.h>

/* Leaves in the sets what poll said of their descriptors; returns how often one is in a set. */
static int answer(const struct pollfd *entries, int used, fd_set *reading, fd_set *writing, fd_set *exceptional)
{
    int found = 0;
    if (reading != NULL)
        FD_ZERO(reading);
    if (writing != NULL)
        FD_ZERO(writing);
    if (exceptional != NULL)
        FD_ZERO(exceptional);
    for (int i = 0; i < used; i++) {
        if ((entries[i].events & POLLIN) != 0 && (entries[i].revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
            FD_SET(entries[i].fd, reading);
            found++;
        }
        if ((entries[i].events & POLLOUT) != 0 && (entries[i].revents & (POLLOUT | POLLHUP | POLLERR)) != 0) {
            FD_SET(entries[i].fd, writing);
            found++;
        }
    }
    return found;
}

static int wait_for(int count, fd_set *reading, fd_set *writing, fd_set *exceptional, int timeout)
{
    struct pollfd *entries;
    int used = 0, result;
    if (count < 0 || count > FD_SETSIZE) {
        errno = EINVAL;
        return -1;
    }
    entries = calloc((size_t)count + 1, sizeof *entries);
    if (entries == NULL)
        return -1;
    for (int fd = 0; fd < count; fd++) {
        short events = 0;
        if (reading != NULL && FD_ISSET(fd, reading))
            events |= POLLIN;
        if (writing != NULL && FD_ISSET(fd, writing))
            events |= POLLOUT;
        if (events != 0 || (exceptional != NULL && FD_ISSET(fd, exceptional)))
            entries[used++] = (struct pollfd){.fd = fd, .events = events};
    }
    result = poll(entries, (nfds_t)used, timeout);
    /* Who is told of an error has the sets as they were. */
    for (int i = 0; i < used && result >= 0; i++) {
        if ((entries[i].revents & POLLNVAL) != 0) {
            errno = EBADF;
            result = -1;
        }
    }
    if (result >= 0)
        result = answer(entries, used, reading, writing, exceptional);
    free(entries);
    return result;
}

/* Milliseconds, rounded up: who waits for a moment does not spin. */
static int milliseconds(long long seconds, long long nanoseconds)
{
    long long all = seconds > 2000000 ? 2000000000 : seconds * 1000 + (nanoseconds + 999999) / 1000000;
    return all > 2000000000 ? 2000000000 : (int)all;
}

int pselect(int count, fd_set *restrict reading, fd_set *restrict writing, fd_set *restrict exceptional,
            const struct timespec *restrict timeout, const sigset_t *restrict mask)
{
    (void)mask;
    if (timeout != NULL && (timeout->tv_sec < 0 || timeout->tv_nsec < 0 || timeout->tv_nsec > 999999999)) {
        errno = EINVAL;
        return -1;
    }
    return wait_for(count, reading, writing, exceptional,
                    timeout == NULL ? -1 : milliseconds(timeout->tv_sec, timeout->tv_nsec));
}

int select(int count, fd_set *restrict reading, fd_set *restrict writing, fd_set *restrict exceptional,
           struct timeval *restrict timeout)
{
    if (timeout != NULL && (timeout->tv_sec < 0 || timeout->tv_usec < 0)) {
        errno = EINVAL;
        return -1;
    }
    return wait_for(count, reading, writing, exceptional,
                    timeout == NULL ? -1 : milliseconds(timeout->tv_sec, (long long)timeout->tv_usec * 1000));
}
