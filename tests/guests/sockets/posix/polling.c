/* poll, select and pselect: on bad descriptors too. */
#include <poll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "pair.h"

/* What one descriptor is told, or -1 where the call counts none. */
static int told(int fd, short events, int timeout)
{
    struct pollfd entry = {.fd = fd, .events = events, .revents = 0x55};
    int count = poll(&entry, 1, timeout);
    IS(count, entry.revents != 0);
    return count == 1 ? entry.revents : -1;
}

static void bad_descriptors(int good)
{
    struct pollfd two[] = {{NO_FD, POLLIN | POLLOUT, 0}, {NO_FD + 1, 0, 0}};
    struct pollfd mixed[] = {{good, POLLOUT, 0}, {NO_FD, POLLIN, 0}, {-1, POLLIN, 0x55}};
    struct pollfd quiet[] = {{good, POLLIN, 0}, {NO_FD, 0, 0}};
    IS(told(NO_FD, POLLIN, -1), POLLNVAL);
    IS(told(NO_FD, POLLIN, 0), POLLNVAL);
    IS(told(NO_FD, POLLOUT, 60000), POLLNVAL);
    IS(told(NO_FD, 0, -1), POLLNVAL);
    IS(told(NO_FD, 0, 0), POLLNVAL);
    IS(told(good, 0, 0), -1);
    IS(told(good, POLLPRI | POLLRDBAND | POLLWRBAND, 0), -1);
    IS(told(NO_FD, POLLPRI, -1), POLLNVAL);
    IS(poll(two, 2, -1), 2);
    IS(two[0].revents == POLLNVAL && two[1].revents == POLLNVAL, 1);
    IS(poll(mixed, 3, -1), 2);
    IS(mixed[0].revents == POLLOUT && mixed[1].revents == POLLNVAL && mixed[2].revents == 0, 1);
    IS(poll(quiet, 2, -1), 1);
    IS(quiet[0].revents == 0 && quiet[1].revents == POLLNVAL, 1);
    FAILS(poll(quiet, 1u << 23, 0), EINVAL);
}

static void readiness(const struct pair *pair)
{
    char got[4];
    IS(told(pair->far, POLLIN, 0), -1);
    IS(told(pair->far, POLLIN, 20), -1);
    IS(told(pair->far, POLLIN | POLLOUT, -1), POLLOUT);
    IS(send(pair->near, "abcd", 4, 0), 4);
    IS(told(pair->far, POLLIN, -1), POLLIN);
    IS(told(pair->far, POLLIN | POLLOUT, -1), POLLIN | POLLOUT);
    IS(recv(pair->far, got, sizeof got, 0), 4);
    IS(told(pair->listener, POLLIN, 0), -1);
    IS(poll(NULL, 0, 20), 0);
}

static void selecting(const struct pair *pair)
{
    struct timeval soon = {0, 20000}, wrong = {-1, 0};
    struct timespec at_once = {0, 0}, too_fine = {0, 1000000000};
    fd_set reading, writing, exceptional;
    char got[4];
    FD_ZERO(&reading);
    FD_ZERO(&writing);
    FD_ZERO(&exceptional);
    FD_SET(pair->far, &reading);
    FD_SET(pair->far, &exceptional);
    IS(select(pair->far + 1, &reading, NULL, &exceptional, &soon), 0);
    IS(FD_ISSET(pair->far, &reading) || FD_ISSET(pair->far, &exceptional), 0);
    IS(send(pair->near, "abcd", 4, 0), 4);
    FD_SET(pair->far, &reading);
    FD_SET(pair->far, &writing);
    IS(select(pair->far + 1, &reading, &writing, NULL, NULL), 2);
    IS(FD_ISSET(pair->far, &reading) && FD_ISSET(pair->far, &writing), 1);
    IS(pselect(pair->far + 1, &reading, NULL, NULL, &at_once, NULL), 1);
    IS(recv(pair->far, got, sizeof got, 0), 4);
    IS(pselect(pair->far + 1, &reading, NULL, NULL, &at_once, NULL), 0);
    IS(select(0, NULL, NULL, NULL, &soon), 0);
    FAILS(select(0, NULL, NULL, NULL, &wrong), EINVAL);
    FAILS(pselect(0, NULL, NULL, NULL, &too_fine, NULL), EINVAL);
    FAILS(select(-1, NULL, NULL, NULL, NULL), EINVAL);
    FD_ZERO(&reading);
    FD_SET(NO_FD, &reading);
    FAILS(select(NO_FD + 1, &reading, NULL, NULL, NULL), EBADF);
    FD_ZERO(&exceptional);
    FD_SET(NO_FD, &exceptional);
    FAILS(select(NO_FD + 1, NULL, NULL, &exceptional, NULL), EBADF);
    /* An error leaves all sets as they were, those of good descriptors too. */
    FD_ZERO(&writing);
    FD_SET(pair->far, &reading);
    FD_SET(pair->far, &writing);
    FD_SET(pair->far, &exceptional);
    FAILS(select(NO_FD + 1, &reading, &writing, &exceptional, NULL), EBADF);
    IS(FD_ISSET(NO_FD, &reading) && FD_ISSET(NO_FD, &exceptional) && !FD_ISSET(NO_FD, &writing), 1);
    IS(FD_ISSET(pair->far, &reading) && FD_ISSET(pair->far, &writing) && FD_ISSET(pair->far, &exceptional), 1);
}

void polling(void)
{
    struct pair pair = connected(7031);
    bad_descriptors(pair.near);
    readiness(&pair);
    selecting(&pair);
    close_pair(&pair);
}
