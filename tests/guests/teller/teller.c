/* A server that tells who asks, over connections and datagrams, at one port for both: what a client sends comes back as
 *
 *   PROTOCOL ADDRESS PORT TEXT
 *
 * with the protocol by which it came and the client's address, one line for a connection's line. The port is the first
 * argument. Written against BSD sockets; nothing in it knows where it runs. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { TEXT_BYTES = 1024, CLIENTS = 32 };

/* Writes the answer and returns its length. */
static int tell(char *answer, const char *protocol, const struct sockaddr_storage *peer, const char *text) {
    char address[INET6_ADDRSTRLEN] = "?";
    int port = 0;
    if (peer->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)peer;
        inet_ntop(AF_INET, &in->sin_addr, address, sizeof address);
        port = ntohs(in->sin_port);
    } else if (peer->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)peer;
        inet_ntop(AF_INET6, &in6->sin6_addr, address, sizeof address);
        port = ntohs(in6->sin6_port);
    }
    return snprintf(answer, 2 * TEXT_BYTES, "%s %s %d %s", protocol, address, port, text);
}

static void answer_datagram(int fd) {
    static char text[TEXT_BYTES], answer[2 * TEXT_BYTES];
    struct sockaddr_storage peer;
    socklen_t size = sizeof peer;
    ssize_t count = recvfrom(fd, text, sizeof text - 1, 0, (struct sockaddr *)&peer, &size);
    if (count >= 0) {
        text[count] = 0;
        int length = tell(answer, "udp", &peer, text);
        sendto(fd, answer, (size_t)length, 0, (struct sockaddr *)&peer, size);
    }
}

/* Answers a line, which comes in one piece; says whether the connection goes on. */
static int answer_line(int fd) {
    static char text[TEXT_BYTES], answer[2 * TEXT_BYTES];
    struct sockaddr_storage peer;
    socklen_t size = sizeof peer;
    ssize_t count = recv(fd, text, sizeof text - 1, 0);
    if (count <= 0 || getpeername(fd, (struct sockaddr *)&peer, &size) != 0) {
        return 0;
    }
    text[count] = 0;
    int length = tell(answer, "tcp", &peer, text);
    return send(fd, answer, (size_t)length, 0) == length;
}

static int bound(int kind, int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, kind, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        (kind == SOCK_STREAM && listen(fd, CLIENTS) != 0)) {
        perror("teller");
        exit(1);
    }
    return fd;
}

int main(int argc, char **argv) {
    int port = argc > 1 ? atoi(argv[1]) : 7000;
    struct pollfd polled[2 + CLIENTS] = {{.fd = bound(SOCK_STREAM, port), .events = POLLIN},
                                         {.fd = bound(SOCK_DGRAM, port), .events = POLLIN}};
    nfds_t used = 2;
    while (poll(polled, used, -1) >= 0) {
        for (nfds_t i = used; i-- > 2;) {
            if (polled[i].revents != 0 && !answer_line(polled[i].fd)) {
                close(polled[i].fd);
                polled[i] = polled[--used];
            }
        }
        if (polled[1].revents & POLLIN) {
            answer_datagram(polled[1].fd);
        }
        if ((polled[0].revents & POLLIN) && used < 2 + CLIENTS) {
            polled[used] = (struct pollfd){.fd = accept(polled[0].fd, NULL, NULL), .events = POLLIN};
            used += polled[used].fd >= 0;
        }
    }
    perror("teller");
    return 1;
}
