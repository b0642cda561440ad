/* Lets programs that install signal handlers compile unchanged: turns on wasi-libc's emulation of signals (link with
 * -lwasi-emulated-signal) and adds sigaction and signal sets to it. No signal ever comes from outside; raise calls the
 * handler, and a send to a closed connection returns EPIPE. */
#ifndef REFRAIN_SIGNAL_H
#define REFRAIN_SIGNAL_H

#ifndef _WASI_EMULATED_SIGNAL
#define _WASI_EMULATED_SIGNAL
#endif
#include <sys/types.h>
#include_next <signal.h>

#include <refrain/symbol.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef SA_RESTART
#define SA_NOCLDSTOP 1
#define SA_NOCLDWAIT 2
#define SA_SIGINFO 4
#define SA_ONSTACK 0x08000000
#define SA_RESTART 0x10000000
#define SA_NODEFER 0x40000000
#define SA_RESETHAND 0x80000000
#define SIG_BLOCK 0
#define SIG_UNBLOCK 1
#define SIG_SETMASK 2

union sigval {
    int sival_int;
    void *sival_ptr;
};

typedef struct {
    int si_signo;
    int si_errno;
    int si_code;
    pid_t si_pid;
    uid_t si_uid;
    int si_status;
    void *si_addr;
    union sigval si_value;
} siginfo_t;

struct sigaction {
    union {
        void (*sa_handler)(int);
        void (*sa_sigaction)(int, siginfo_t *, void *);
    };
    sigset_t sa_mask;
    int sa_flags;
};
#endif

/* Blocking a signal that never comes holds nothing back: sets are kept as wasi-libc's type has room, and that is one
 * byte. */
int sigaction(int, const struct sigaction *__restrict, struct sigaction *__restrict) REFRAIN_SYMBOL(sigaction);
int sigemptyset(sigset_t *) REFRAIN_SYMBOL(sigemptyset);
int sigfillset(sigset_t *) REFRAIN_SYMBOL(sigfillset);
int sigaddset(sigset_t *, int) REFRAIN_SYMBOL(sigaddset);
int sigdelset(sigset_t *, int) REFRAIN_SYMBOL(sigdelset);
int sigismember(const sigset_t *, int) REFRAIN_SYMBOL(sigismember);
int sigprocmask(int, const sigset_t *__restrict, sigset_t *__restrict) REFRAIN_SYMBOL(sigprocmask);
int sigsuspend(const sigset_t *) REFRAIN_SYMBOL(sigsuspend);
int siginterrupt(int, int) REFRAIN_SYMBOL(siginterrupt);
int kill(pid_t, int) REFRAIN_SYMBOL(kill);
int killpg(pid_t, int) REFRAIN_SYMBOL(kill);

#ifdef __cplusplus
}
#endif

#endif
