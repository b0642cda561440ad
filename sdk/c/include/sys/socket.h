/* The BSD socket calls that wasi-libc declares only for component targets, added to its own <sys/socket.h>.
 * Definitions are in librefrain.a; constants and structures stay wasi-libc's. */
#ifndef REFRAIN_SYS_SOCKET_H
#define REFRAIN_SYS_SOCKET_H

#include_next <sys/socket.h>

/* The receive flags of preview 1, and two of Linux's that recv and send of librefrain.a understand. */
#undef MSG_PEEK
#undef MSG_WAITALL
#undef MSG_DONTWAIT
#undef MSG_NOSIGNAL
#define MSG_PEEK 0x0001
#define MSG_WAITALL 0x0002
#define MSG_DONTWAIT 0x0040
#define MSG_NOSIGNAL 0x4000

#ifndef PF_INET
#define PF_UNSPEC AF_UNSPEC
#define PF_INET AF_INET
#define PF_INET6 AF_INET6
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
int accept(int, struct sockaddr *__restrict, socklen_t *__restrict) __asm__("refrain_accept");
int accept4(int, struct sockaddr *__restrict, socklen_t *__restrict, int) __asm__("refrain_accept4");
ssize_t recv(int, void *, size_t, int) __asm__("refrain_recv");
ssize_t send(int, const void *, size_t, int) __asm__("refrain_send");
int getsockopt(int, int, int, void *__restrict, socklen_t *__restrict) __asm__("refrain_getsockopt");

int socket(int, int, int);
int bind(int, const struct sockaddr *, socklen_t);
int listen(int, int);
int connect(int, const struct sockaddr *, socklen_t);
int getsockname(int, struct sockaddr *__restrict, socklen_t *__restrict);
int getpeername(int, struct sockaddr *__restrict, socklen_t *__restrict);
int setsockopt(int, int, int, const void *, socklen_t);

#ifdef __cplusplus
}
#endif

#endif
