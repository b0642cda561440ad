/* The BSD socket calls of wasi-libc for WASI 0.2, for headers of a wasi-libc that is older than they are: Debian's has those
 * of preview 1 alone. The definitions are in the libc.a that Rust brings for wasm32-wasip2. */
#ifndef REFRAIN_WASIP2_SYS_SOCKET_H
#define REFRAIN_WASIP2_SYS_SOCKET_H

#include_next <sys/socket.h>

#ifndef __wasilibc_use_wasip2

/* Not those of preview 1. */
#undef MSG_PEEK
#undef MSG_WAITALL
#undef MSG_TRUNC
#define MSG_PEEK 0x0002
#define MSG_NOSIGNAL 0x4000

#define SO_REUSEADDR 2
#define SO_ERROR 4
#define SO_SNDBUF 7
#define SO_RCVBUF 8
#define SO_KEEPALIVE 9
#define SO_ACCEPTCONN 30
#define SO_RCVTIMEO 66
#define SO_SNDTIMEO 67

#ifndef SOMAXCONN
#define SOMAXCONN 128
#endif

#ifdef __cplusplus
extern "C" {
#endif

int socket(int, int, int);
int bind(int, const struct sockaddr *, socklen_t);
int listen(int, int);
int connect(int, const struct sockaddr *, socklen_t);
int getsockname(int, struct sockaddr *__restrict, socklen_t *__restrict);
int getpeername(int, struct sockaddr *__restrict, socklen_t *__restrict);
int setsockopt(int, int, int, const void *, socklen_t);
ssize_t sendto(int, const void *, size_t, int, const struct sockaddr *, socklen_t);
ssize_t recvfrom(int, void *__restrict, size_t, int, struct sockaddr *__restrict, socklen_t *__restrict);

#ifdef __cplusplus
}
#endif

#endif

#endif
