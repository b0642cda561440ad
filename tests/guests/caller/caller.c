/* A server that calls other servers: each line of a client is a command, each answer is one line.
 *
 *   tcp HOST PORT TEXT    connects, sends TEXT and a newline, says that it will send no more, reads to the end
 *   many HOST PORT N TEXT N connections at once, without waiting for one before the next; TEXT and a number on each
 *   udp HOST PORT TEXT    sends a datagram and waits up to two seconds for one back
 *   name HOST             looks a name up
 *   clock                 the time and eight random bytes
 *
 * Answers begin with "ok" or with the name of what went wrong. Written against BSD sockets; nothing in it knows where it
 * runs, so that the same source is a native program to compare with. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { LINE_BYTES = 4096, READ_BYTES = 65536, MANY = 64, DATAGRAM_WAIT_MS = 2000 };

static const char *error_name(int error) {
    switch (error) {
    case EACCES: return "EACCES";
    case ECONNREFUSED: return "ECONNREFUSED";
    case ECONNRESET: return "ECONNRESET";
    case ECONNABORTED: return "ECONNABORTED";
    case ETIMEDOUT: return "ETIMEDOUT";
    case EPIPE: return "EPIPE";
    case ENOBUFS: return "ENOBUFS";
    case EHOSTUNREACH: return "EHOSTUNREACH";
    case ENETUNREACH: return "ENETUNREACH";
    case EAGAIN: return "EAGAIN";
    default: return strerror(error);
    }
}

/* FNV-1a: what was read, in short. */
static uint64_t mix(uint64_t hash, const char *bytes, size_t count) {
    for (size_t i = 0; i < count; i++) {
        hash = (hash ^ (unsigned char)bytes[i]) * 0x100000001b3u;
    }
    return hash;
}

static int look_up(const char *host, const char *port, int kind, struct addrinfo **found) {
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = kind};
    return getaddrinfo(host, port, &hints, found);
}

static int send_all(int fd, const char *bytes, size_t count) {
    while (count > 0) {
        ssize_t sent = send(fd, bytes, count, 0);
        if (sent < 0) {
            return -1;
        }
        bytes += sent;
        count -= (size_t)sent;
    }
    return 0;
}

static void call_tcp(const char *host, const char *port, const char *text, char *answer) {
    struct addrinfo *found;
    int failed = look_up(host, port, SOCK_STREAM, &found);
    if (failed) {
        snprintf(answer, LINE_BYTES, "name: %s", gai_strerror(failed));
        return;
    }
    int fd = socket(found->ai_family, SOCK_STREAM, 0);
    int connected = fd < 0 ? -1 : connect(fd, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    if (connected != 0) {
        snprintf(answer, LINE_BYTES, "connect: %s", error_name(errno));
        if (fd >= 0) {
            close(fd);
        }
        return;
    }
    if (send_all(fd, text, strlen(text)) != 0 || send_all(fd, "\n", 1) != 0) {
        snprintf(answer, LINE_BYTES, "send: %s", error_name(errno));
        close(fd);
        return;
    }
    shutdown(fd, SHUT_WR);
    static char buffer[READ_BYTES];
    char first[64] = "";
    unsigned long long total = 0;
    uint64_t hash = 0xcbf29ce484222325u;
    for (;;) {
        ssize_t count = recv(fd, buffer, sizeof buffer, 0);
        if (count < 0) {
            snprintf(answer, LINE_BYTES, "recv after %llu: %s", total, error_name(errno));
            close(fd);
            return;
        }
        if (count == 0) {
            break;
        }
        if (total == 0) {
            size_t shown = (size_t)count < sizeof first - 1 ? (size_t)count : sizeof first - 1;
            for (size_t i = 0; i < shown; i++) {
                first[i] = buffer[i] >= ' ' && buffer[i] < 127 ? buffer[i] : '.';
            }
            first[shown] = 0;
        }
        total += (unsigned long long)count;
        hash = mix(hash, buffer, (size_t)count);
    }
    close(fd);
    snprintf(answer, LINE_BYTES, "ok %llu %016llx %s", total, (unsigned long long)hash, first);
}

/* Opens connections without waiting, then sends on each that is there, then reads an answer of each. */
static void call_many(const char *host, const char *port, int count, const char *text, char *answer) {
    struct addrinfo *found;
    if (count < 1 || count > MANY || look_up(host, port, SOCK_STREAM, &found) != 0) {
        snprintf(answer, LINE_BYTES, "bad");
        return;
    }
    struct pollfd polled[MANY];
    int asked[MANY] = {0}, good = 0, bad = 0;
    const char *last = "";
    for (int i = 0; i < count; i++) {
        polled[i].fd = socket(found->ai_family, SOCK_STREAM, 0);
        polled[i].events = POLLOUT;
        fcntl(polled[i].fd, F_SETFL, O_NONBLOCK);
        if (connect(polled[i].fd, found->ai_addr, found->ai_addrlen) != 0 && errno != EINPROGRESS) {
            last = error_name(errno);
            close(polled[i].fd);
            polled[i].fd = -1;
            bad++;
        }
    }
    freeaddrinfo(found);
    while (good + bad < count) {
        if (poll(polled, (nfds_t)count, -1) < 0) {
            break;
        }
        for (int i = 0; i < count; i++) {
            if (polled[i].fd < 0 || polled[i].revents == 0) {
                continue;
            }
            int failed = 0;
            if (!asked[i]) {
                socklen_t size = sizeof failed;
                getsockopt(polled[i].fd, SOL_SOCKET, SO_ERROR, &failed, &size);
                char line[LINE_BYTES];
                int length = snprintf(line, sizeof line, "%s %d\n", text, i);
                if (!failed && send(polled[i].fd, line, (size_t)length, 0) != length) {
                    failed = errno;
                }
                asked[i] = 1;
                polled[i].events = POLLIN;
                if (!failed) {
                    continue;
                }
            } else {
                char byte;
                ssize_t got = recv(polled[i].fd, &byte, 1, 0);
                if (got < 0 && errno == EAGAIN) {
                    continue;
                }
                failed = got == 1 ? 0 : got == 0 ? ECONNRESET : errno;
            }
            if (failed) {
                last = error_name(failed);
                bad++;
            } else {
                good++;
            }
            close(polled[i].fd);
            polled[i].fd = -1;
        }
    }
    snprintf(answer, LINE_BYTES, "ok %d %d %s", good, bad, last);
}

static void call_udp(const char *host, const char *port, const char *text, char *answer) {
    struct addrinfo *found;
    int failed = look_up(host, port, SOCK_DGRAM, &found);
    if (failed) {
        snprintf(answer, LINE_BYTES, "name: %s", gai_strerror(failed));
        return;
    }
    int fd = socket(found->ai_family, SOCK_DGRAM, 0);
    if (sendto(fd, text, strlen(text), 0, found->ai_addr, found->ai_addrlen) < 0) {
        snprintf(answer, LINE_BYTES, "sendto: %s", error_name(errno));
    } else {
        struct pollfd polled = {.fd = fd, .events = POLLIN};
        char datagram[LINE_BYTES / 2];
        struct sockaddr_storage from;
        socklen_t size = sizeof from;
        ssize_t count;
        if (poll(&polled, 1, DATAGRAM_WAIT_MS) == 0) {
            snprintf(answer, LINE_BYTES, "nothing");
        } else if ((count = recvfrom(fd, datagram, sizeof datagram - 1, 0, (struct sockaddr *)&from, &size)) < 0) {
            snprintf(answer, LINE_BYTES, "recvfrom: %s", error_name(errno));
        } else {
            datagram[count] = 0;
            snprintf(answer, LINE_BYTES, "ok %zd %s", count, datagram);
        }
    }
    close(fd);
    freeaddrinfo(found);
}

static void call_name(const char *host, char *answer) {
    struct addrinfo *found;
    int failed = look_up(host, NULL, SOCK_STREAM, &found);
    if (failed) {
        snprintf(answer, LINE_BYTES, "name: %s", gai_strerror(failed));
        return;
    }
    int at = snprintf(answer, LINE_BYTES, "ok");
    for (struct addrinfo *each = found; each && at < LINE_BYTES - INET6_ADDRSTRLEN - 2; each = each->ai_next) {
        char text[INET6_ADDRSTRLEN] = "";
        const void *address = each->ai_family == AF_INET ? (const void *)&((struct sockaddr_in *)each->ai_addr)->sin_addr
                                                         : (const void *)&((struct sockaddr_in6 *)each->ai_addr)->sin6_addr;
        inet_ntop(each->ai_family, address, text, sizeof text);
        at += snprintf(answer + at, (size_t)(LINE_BYTES - at), " %s", text);
    }
    freeaddrinfo(found);
}

static void tell_clock(char *answer) {
    struct timespec now;
    unsigned char random[8];
    clock_gettime(CLOCK_REALTIME, &now);
    getentropy(random, sizeof random);
    int at = snprintf(answer, LINE_BYTES, "ok %lld.%09ld ", (long long)now.tv_sec, now.tv_nsec);
    for (size_t i = 0; i < sizeof random; i++) {
        at += snprintf(answer + at, (size_t)(LINE_BYTES - at), "%02x", random[i]);
    }
}

static void obey(char *line, char *answer) {
    char *rest = line;
    const char *verb = strsep(&rest, " "), *host = strsep(&rest, " ");
    if (strcmp(verb, "clock") == 0) {
        tell_clock(answer);
    } else if (strcmp(verb, "name") == 0 && host) {
        call_name(host, answer);
    } else {
        const char *port = strsep(&rest, " ");
        if (strcmp(verb, "tcp") == 0 && rest) {
            call_tcp(host, port, rest, answer);
        } else if (strcmp(verb, "udp") == 0 && rest) {
            call_udp(host, port, rest, answer);
        } else if (strcmp(verb, "many") == 0 && rest) {
            int count = atoi(strsep(&rest, " "));
            call_many(host, port, count, rest ? rest : "", answer);
        } else {
            snprintf(answer, LINE_BYTES, "bad");
        }
    }
}

static void serve(int client) {
    static char line[LINE_BYTES], answer[LINE_BYTES + 1];
    size_t used = 0;
    for (;;) {
        ssize_t count = recv(client, line + used, sizeof line - 1 - used, 0);
        if (count <= 0) {
            return;
        }
        used += (size_t)count;
        line[used] = 0;
        for (char *end; (end = strchr(line, '\n')) != NULL;) {
            *end = 0;
            obey(line, answer);
            strcat(answer, "\n");
            if (send_all(client, answer, strlen(answer)) != 0) {
                return;
            }
            used -= (size_t)(end + 1 - line);
            memmove(line, end + 1, used + 1);
        }
        if (used == sizeof line - 1) {
            return;
        }
    }
}

int main(int argc, char **argv) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argc > 1 ? argv[1] : "7000"))};
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 64) != 0) {
        perror("caller");
        return 1;
    }
    for (;;) {
        int client = accept(listener, NULL, NULL);
        if (client >= 0) {
            serve(client);
            close(client);
        }
    }
}
