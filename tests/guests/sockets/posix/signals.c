/* Handlers are kept, and called by raise and kill; sets have room for what wasi-libc's type has. */
#include <signal.h>
#include <unistd.h>

#include "check.h"

static volatile int handled, informed;

static void handler(int number)
{
    handled = number;
}

static void informed_handler(int number, siginfo_t *information, void *context)
{
    informed = information->si_signo == number && context == NULL ? number : -1;
}

static void sets(void)
{
    sigset_t set, before;
    IS(sigemptyset(&set), 0);
    IS(sigismember(&set, SIGINT), 0);
    IS(sigaddset(&set, SIGINT), 0);
    IS(sigismember(&set, SIGINT), 1);
    IS(sigismember(&set, SIGHUP), 0);
    IS(sigdelset(&set, SIGINT), 0);
    IS(sigismember(&set, SIGINT), 0);
    IS(sigfillset(&set), 0);
    IS(sigismember(&set, SIGHUP), 1);
    FAILS(sigaddset(&set, 0), EINVAL);
    FAILS(sigdelset(&set, 65), EINVAL);
    FAILS(sigismember(&set, -1), EINVAL);
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    IS(sigprocmask(SIG_SETMASK, &set, NULL), 0);
    IS(sigprocmask(SIG_SETMASK, NULL, &before), 0);
    IS(sigismember(&before, SIGINT), 1);
    IS(sigismember(&before, SIGHUP), 0);
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    IS(sigprocmask(SIG_BLOCK, &set, &before), 0);
    IS(sigprocmask(SIG_UNBLOCK, NULL, &before), 0);
    IS(sigismember(&before, SIGINT), 1);
    IS(sigismember(&before, SIGHUP), 1);
    IS(sigprocmask(SIG_UNBLOCK, &set, NULL), 0);
    IS(sigprocmask(SIG_SETMASK, NULL, &before), 0);
    IS(sigismember(&before, SIGINT), 1);
    IS(sigismember(&before, SIGHUP), 0);
    FAILS(sigprocmask(7, &set, NULL), EINVAL);
    sigemptyset(&set);
    IS(sigprocmask(SIG_SETMASK, &set, NULL), 0);
}

void signals(void)
{
    struct sigaction action = {.sa_handler = handler}, before;
    sets();
    IS(sigaction(SIGUSR1, &action, NULL), 0);
    IS(raise(SIGUSR1), 0);
    IS(handled, SIGUSR1);
    action.sa_sigaction = informed_handler;
    action.sa_flags = SA_SIGINFO;
    IS(sigaction(SIGUSR1, &action, &before), 0);
    IS(before.sa_handler == handler && before.sa_flags == 0, 1);
    handled = 0;
    IS(kill(1, SIGUSR1), 0);
    IS(handled, 0);
    IS(informed, SIGUSR1);
    IS(sigaction(SIGUSR1, NULL, &before), 0);
    IS(before.sa_sigaction == informed_handler && before.sa_flags == SA_SIGINFO, 1);
    FAILS(sigaction(SIGKILL, &action, NULL), EINVAL);
    FAILS(sigaction(0, &action, NULL), EINVAL);
    IS(signal(SIGTERM, handler) == SIG_DFL, 1);
    IS(killpg(1, SIGTERM), 0);
    IS(handled, SIGTERM);
    IS(kill(0, 0), 0);
    FAILS(kill(2, SIGTERM), ESRCH);
    FAILS(killpg(2, 0), ESRCH);
    IS(siginterrupt(SIGTERM, 1), 0);
    FAILS(siginterrupt(SIGKILL, 1), EINVAL);
}
