/* poll(2) over poll_oneoff. It differs from wasi-libc's in ways that servers with many connections notice: the
 * subscriptions live in a block that is kept between calls, not on the stack (128 bytes a descriptor); negative
 * descriptors are skipped and bad ones counted, as POSIX says; timeouts run on the monotonic clock. An entry without
 * events is told of a bad descriptor and of nothing else. */
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <wasi/api.h>

/* Far above what a memory of 4 GiB can hold as connections; keeps the sizes below from overflowing. */
enum { MAX_ENTRIES = 1 << 22 };

static __wasi_subscription_t *subscriptions;
static __wasi_event_t *events;
static size_t capacity;

static int reserve(size_t wanted)
{
    size_t grown = capacity == 0 ? 64 : capacity;
    __wasi_subscription_t *new_subscriptions;
    __wasi_event_t *new_events;
    if (wanted <= capacity)
        return 0;
    while (grown < wanted)
        grown *= 2;
    new_subscriptions = calloc(grown, sizeof *subscriptions);
    new_events = calloc(grown, sizeof *events);
    if (new_subscriptions == NULL || new_events == NULL) {
        free(new_subscriptions);
        free(new_events);
        return ENOMEM;
    }
    free(subscriptions);
    free(events);
    subscriptions = new_subscriptions;
    events = new_events;
    capacity = grown;
    return 0;
}

static bool is_bad(int fd)
{
    __wasi_fdstat_t stat;
    return __wasi_fd_fdstat_get(fd, &stat) == __WASI_ERRNO_BADF;
}

/* Describes the entries to the host, but those that it is asked nothing about: where they are bad, `*bad` counts them.
 * Returns the number of subscriptions. */
static size_t describe(struct pollfd *fds, size_t nfds, int *bad)
{
    size_t count = 0;
    for (size_t i = 0; i < nfds; i++) {
        fds[i].revents = 0;
        if (fds[i].fd < 0)
            continue;
        if ((fds[i].events & (POLLIN | POLLOUT)) == 0 && is_bad(fds[i].fd)) {
            fds[i].revents = POLLNVAL;
            ++*bad;
        }
        if ((fds[i].events & POLLIN) != 0) {
            subscriptions[count].userdata = i;
            subscriptions[count].u.tag = __WASI_EVENTTYPE_FD_READ;
            subscriptions[count++].u.u.fd_read.file_descriptor = fds[i].fd;
        }
        if ((fds[i].events & POLLOUT) != 0) {
            subscriptions[count].userdata = i;
            subscriptions[count].u.tag = __WASI_EVENTTYPE_FD_WRITE;
            subscriptions[count++].u.u.fd_write.file_descriptor = fds[i].fd;
        }
    }
    return count;
}

static void apply(struct pollfd *entry, const __wasi_event_t *event)
{
    if (event->error == __WASI_ERRNO_BADF) {
        entry->revents |= POLLNVAL;
    } else if (event->error == __WASI_ERRNO_PIPE) {
        entry->revents |= POLLHUP;
    } else if (event->error != 0) {
        entry->revents |= POLLERR;
    } else {
        entry->revents |= event->type == __WASI_EVENTTYPE_FD_READ ? POLLIN : POLLOUT;
        if ((event->fd_readwrite.flags & __WASI_EVENTRWFLAGS_FD_READWRITE_HANGUP) != 0)
            entry->revents |= POLLHUP;
    }
}

/* Waits for the subscriptions, and `timeout` where it is not negative; returns an errno. */
static int wait_for(size_t count, int timeout, __wasi_size_t *ready)
{
    if (timeout >= 0 || count == 0) {
        /* Nothing to wait for and no timeout: POSIX waits for ever; 2^62 ns are 146 years. */
        uint64_t wait = timeout >= 0 ? (uint64_t)timeout * 1000000 : (uint64_t)1 << 62;
        subscriptions[count] = (__wasi_subscription_t){
            .userdata = UINT64_MAX,
            .u.tag = __WASI_EVENTTYPE_CLOCK,
            .u.u.clock.id = __WASI_CLOCKID_MONOTONIC,
            .u.u.clock.timeout = wait,
        };
        count++;
    }
    return __wasi_poll_oneoff(subscriptions, events, count, ready);
}

int poll(struct pollfd *fds, nfds_t nfds, int timeout)
{
    __wasi_size_t ready = 0;
    size_t count;
    int result = 0;
    int error = nfds > MAX_ENTRIES ? EINVAL : reserve(2 * (size_t)nfds + 1);
    if (error == 0) {
        count = describe(fds, nfds, &result);
        /* Who has something to tell does not wait. */
        error = wait_for(count, result > 0 ? 0 : timeout, &ready);
        /* Where all are bad, the host refuses to wait at all; with a time limit it does not. */
        if (error == EBADF && timeout < 0)
            error = wait_for(count, 0, &ready);
    }
    if (error != 0) {
        errno = error;
        return -1;
    }
    for (size_t i = 0; i < ready; i++) {
        struct pollfd *entry;
        if (events[i].type == __WASI_EVENTTYPE_CLOCK || events[i].userdata >= nfds)
            continue;
        entry = &fds[events[i].userdata];
        if (entry->revents == 0)
            result++;
        apply(entry, &events[i]);
        /* POSIX: POLLHUP and POLLOUT exclude each other. */
        if ((entry->revents & POLLHUP) != 0)
            entry->revents &= ~POLLOUT;
    }
    return result;
}
