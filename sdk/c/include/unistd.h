/* Adds what <unistd.h> has elsewhere and wasi-libc leaves out: one process, one user, no second descriptor of one
 * thing. Calls that need more fail with ENOSYS; see refrain-sockets(7). */
#ifndef REFRAIN_UNISTD_H
#define REFRAIN_UNISTD_H

/* Without this wasi-libc declares getpid as a call that must not be used. */
#ifndef _WASI_EMULATED_GETPID
#define _WASI_EMULATED_GETPID
#endif
#include_next <unistd.h>

#include <refrain/symbol.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Processes. */
pid_t fork(void) REFRAIN_SYMBOL(fork);
pid_t vfork(void) REFRAIN_SYMBOL(fork);
int execv(const char *, char *const[]) REFRAIN_SYMBOL(execv);
int execvp(const char *, char *const[]) REFRAIN_SYMBOL(execv);
int execve(const char *, char *const[], char *const[]) REFRAIN_SYMBOL(execve);
int execl(const char *, const char *, ...) REFRAIN_SYMBOL(execl);
int execlp(const char *, const char *, ...) REFRAIN_SYMBOL(execl);
int execle(const char *, const char *, ...) REFRAIN_SYMBOL(execl);
int daemon(int, int) REFRAIN_SYMBOL(daemon);
pid_t getpid(void) REFRAIN_SYMBOL(getpid);
pid_t getppid(void) REFRAIN_SYMBOL(getppid);
pid_t getpgrp(void) REFRAIN_SYMBOL(getpgrp);
pid_t getpgid(pid_t) REFRAIN_SYMBOL(getpgid);
int setpgid(pid_t, pid_t) REFRAIN_SYMBOL(setpgid);
pid_t setsid(void) REFRAIN_SYMBOL(setsid);
int nice(int) REFRAIN_SYMBOL(nice);
unsigned alarm(unsigned) REFRAIN_SYMBOL(alarm);
int pause(void) REFRAIN_SYMBOL(pause);

/* Users. */
uid_t getuid(void) REFRAIN_SYMBOL(getuid);
uid_t geteuid(void) REFRAIN_SYMBOL(getuid);
gid_t getgid(void) REFRAIN_SYMBOL(getgid);
gid_t getegid(void) REFRAIN_SYMBOL(getgid);
int getgroups(int, gid_t[]) REFRAIN_SYMBOL(getgroups);
int setuid(uid_t) REFRAIN_SYMBOL(setuid);
int seteuid(uid_t) REFRAIN_SYMBOL(setuid);
int setgid(gid_t) REFRAIN_SYMBOL(setgid);
int setegid(gid_t) REFRAIN_SYMBOL(setgid);
int chroot(const char *) REFRAIN_SYMBOL(chroot);
char *getlogin(void) REFRAIN_SYMBOL(getlogin);

/* Descriptors and files. */
int dup(int) REFRAIN_SYMBOL(dup);
int dup2(int, int) REFRAIN_SYMBOL(dup2);
int pipe(int[2]) REFRAIN_SYMBOL(pipe);
int chown(const char *, uid_t, gid_t) REFRAIN_SYMBOL(chown);
int lchown(const char *, uid_t, gid_t) REFRAIN_SYMBOL(lchown);
int fchown(int, uid_t, gid_t) REFRAIN_SYMBOL(fchown);
int lockf(int, int, off_t) REFRAIN_SYMBOL(lockf);
void sync(void) REFRAIN_SYMBOL(sync);
char *ttyname(int) REFRAIN_SYMBOL(ttyname);

/* The machine. */
int gethostname(char *, size_t) REFRAIN_SYMBOL(gethostname);
int getpagesize(void) REFRAIN_SYMBOL(getpagesize);
int getdtablesize(void) REFRAIN_SYMBOL(getdtablesize);

#ifdef __cplusplus
}
#endif

#endif
