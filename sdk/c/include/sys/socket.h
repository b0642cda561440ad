/* The BSD socket calls that wasi-libc declares only for component targets, added to its own <sys/socket.h>.
 * Definitions are in librefrain.a; constants and structures stay wasi-libc's. */
#ifndef REFRAIN_SYS_SOCKET_H
#define REFRAIN_SYS_SOCKET_H

#include_next <sys/socket.h>

#include <refrain/symbol.h>

/* The receive flags of preview 1, and three of Linux's that recv and send of librefrain.a understand. */
#undef MSG_PEEK
#undef MSG_WAITALL
#undef MSG_DONTWAIT
#undef MSG_NOSIGNAL
#undef MSG_TRUNC
#define MSG_PEEK 0x0001
#define MSG_WAITALL 0x0002
#define MSG_TRUNC 0x0020
#define MSG_DONTWAIT 0x0040
#define MSG_NOSIGNAL 0x4000

#ifndef MSG_OOB
#define MSG_OOB 0x10000
#endif
#ifndef MSG_CTRUNC
#define MSG_CTRUNC 0x20000
#endif

#ifndef AF_UNIX
#define AF_UNIX 3
#endif
#ifndef AF_LOCAL
#define AF_LOCAL AF_UNIX
#endif
#ifndef PF_INET
#define PF_UNSPEC AF_UNSPEC
#define PF_INET AF_INET
#define PF_INET6 AF_INET6
#endif
#ifndef PF_UNIX
#define PF_UNIX AF_UNIX
#define PF_LOCAL AF_UNIX
#endif

/* Types that programs name and no socket has. */
#ifndef SOCK_RAW
#define SOCK_RAW 100
#endif
#ifndef SOCK_SEQPACKET
#define SOCK_SEQPACKET 101
#endif

/* Linux's numbers, as in musl; setsockopt translates them. */
#ifndef SO_REUSEADDR
#define SO_REUSEADDR 2
#endif
#ifndef SO_ERROR
#define SO_ERROR 4
#endif
#ifndef SO_DONTROUTE
#define SO_DONTROUTE 5
#endif
#ifndef SO_BROADCAST
#define SO_BROADCAST 6
#endif
#ifndef SO_SNDBUF
#define SO_SNDBUF 7
#endif
#ifndef SO_RCVBUF
#define SO_RCVBUF 8
#endif
#ifndef SO_KEEPALIVE
#define SO_KEEPALIVE 9
#endif
#ifndef SO_OOBINLINE
#define SO_OOBINLINE 10
#endif
#ifndef SO_LINGER
#define SO_LINGER 13
#endif
#ifndef SO_DEBUG
#define SO_DEBUG 1
#endif
#ifndef SO_REUSEPORT
#define SO_REUSEPORT 15
#endif
#ifndef SO_RCVLOWAT
#define SO_RCVLOWAT 18
#endif
#ifndef SO_SNDLOWAT
#define SO_SNDLOWAT 19
#endif
#ifndef SO_ACCEPTCONN
#define SO_ACCEPTCONN 30
#endif
#ifndef SO_RCVTIMEO
#define SO_RCVTIMEO 66
#endif
#ifndef SO_SNDTIMEO
#define SO_SNDTIMEO 67
#endif

#ifndef SOMAXCONN
#define SOMAXCONN 128
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* wasi-libc has these too. The other symbol keeps them apart, whatever the order of libraries. */
int accept(int, struct sockaddr *__restrict, socklen_t *__restrict) REFRAIN_SYMBOL(accept);
int accept4(int, struct sockaddr *__restrict, socklen_t *__restrict, int) REFRAIN_SYMBOL(accept4);
ssize_t recv(int, void *, size_t, int) REFRAIN_SYMBOL(recv);
ssize_t send(int, const void *, size_t, int) REFRAIN_SYMBOL(send);
int getsockopt(int, int, int, void *__restrict, socklen_t *__restrict) REFRAIN_SYMBOL(getsockopt);

int socket(int, int, int) REFRAIN_SYMBOL(socket);
int socketpair(int, int, int, int[2]) REFRAIN_SYMBOL(socketpair);
int bind(int, const struct sockaddr *, socklen_t) REFRAIN_SYMBOL(bind);
int listen(int, int) REFRAIN_SYMBOL(listen);
int connect(int, const struct sockaddr *, socklen_t) REFRAIN_SYMBOL(connect);
int getsockname(int, struct sockaddr *__restrict, socklen_t *__restrict) REFRAIN_SYMBOL(getsockname);
int getpeername(int, struct sockaddr *__restrict, socklen_t *__restrict) REFRAIN_SYMBOL(getpeername);
int setsockopt(int, int, int, const void *, socklen_t) REFRAIN_SYMBOL(setsockopt);
ssize_t sendto(int, const void *, size_t, int, const struct sockaddr *, socklen_t) REFRAIN_SYMBOL(sendto);
ssize_t recvfrom(int, void *__restrict, size_t, int, struct sockaddr *__restrict, socklen_t *__restrict)
    REFRAIN_SYMBOL(recvfrom);
ssize_t sendmsg(int, const struct msghdr *, int) REFRAIN_SYMBOL(sendmsg);
ssize_t recvmsg(int, struct msghdr *, int) REFRAIN_SYMBOL(recvmsg);

#ifdef __cplusplus
}
#endif

#endif
