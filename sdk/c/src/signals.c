/* sigaction(2) and signal sets over wasi-libc's emulation of signal(3). */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

enum { NUMBERS = 65, IN_A_SET = 8 * (int)sizeof(sigset_t) };

static struct sigaction actions[NUMBERS];

static int known(int number)
{
    if (number > 0 && number < NUMBERS && number != SIGKILL && number != SIGSTOP)
        return 1;
    errno = EINVAL;
    return 0;
}

static void with_information(int number)
{
    siginfo_t information;
    memset(&information, 0, sizeof information);
    information.si_signo = number;
    actions[number].sa_sigaction(number, &information, NULL);
}

int sigaction(int number, const struct sigaction *restrict action, struct sigaction *restrict before)
{
    if (!known(number))
        return -1;
    struct sigaction old = actions[number];
    if (action != NULL) {
        void (*handler)(int) = (action->sa_flags & SA_SIGINFO) != 0 ? with_information : action->sa_handler;
        if (signal(number, handler) == SIG_ERR)
            return -1;
        actions[number] = *action;
    }
    if (before != NULL)
        *before = old;
    return 0;
}

int sigemptyset(sigset_t *set)
{
    memset(set, 0, sizeof *set);
    return 0;
}

int sigfillset(sigset_t *set)
{
    memset(set, 0xff, sizeof *set);
    return 0;
}

int sigaddset(sigset_t *set, int number)
{
    if (number < 1 || number >= NUMBERS) {
        errno = EINVAL;
        return -1;
    }
    if (number <= IN_A_SET)
        ((unsigned char *)set)[(number - 1) / 8] |= (unsigned char)(1 << (number - 1) % 8);
    return 0;
}

int sigdelset(sigset_t *set, int number)
{
    if (number < 1 || number >= NUMBERS) {
        errno = EINVAL;
        return -1;
    }
    if (number <= IN_A_SET)
        ((unsigned char *)set)[(number - 1) / 8] &= (unsigned char)~(1 << (number - 1) % 8);
    return 0;
}

int sigismember(const sigset_t *set, int number)
{
    if (number < 1 || number >= NUMBERS) {
        errno = EINVAL;
        return -1;
    }
    return number <= IN_A_SET && (((const unsigned char *)set)[(number - 1) / 8] >> (number - 1) % 8 & 1);
}

int sigprocmask(int how, const sigset_t *restrict set, sigset_t *restrict before)
{
    static sigset_t blocked;
    sigset_t old = blocked;
    for (size_t i = 0; set != NULL && i < sizeof *set; i++) {
        unsigned char *byte = (unsigned char *)&blocked + i, given = ((const unsigned char *)set)[i];
        if (how == SIG_BLOCK) {
            *byte |= given;
        } else if (how == SIG_UNBLOCK) {
            *byte &= (unsigned char)~given;
        } else if (how == SIG_SETMASK) {
            *byte = given;
        } else {
            errno = EINVAL;
            return -1;
        }
    }
    if (before != NULL)
        *before = old;
    return 0;
}

int sigsuspend(const sigset_t *set)
{
    (void)set;
    return pause();
}

int siginterrupt(int number, int flag)
{
    (void)flag;
    return known(number) ? 0 : -1;
}
