/* One process, without children. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static void no_second_process(void)
{
    char *const arguments[] = {"true", NULL}, *const environment[] = {NULL};
    FAILS(fork(), ENOSYS);
    FAILS(vfork(), ENOSYS);
    FAILS(execv("/bin/true", arguments), ENOSYS);
    FAILS(execvp("true", arguments), ENOSYS);
    FAILS(execve("/bin/true", arguments, environment), ENOSYS);
    FAILS(execl("/bin/true", "true", (char *)NULL), ENOSYS);
    FAILS(execlp("true", "true", (char *)NULL), ENOSYS);
    FAILS(execle("/bin/true", "true", (char *)NULL, environment), ENOSYS);
    FAILS(daemon(0, 0), ENOSYS);
    FAILS(system("true"), ENOSYS);
    IS(system(NULL), 0);
    FAILS_NULL(popen("true", "r"), ENOSYS);
    FAILS(pclose(stdin), ECHILD);
}

static void no_children(void)
{
    int status = 5;
    FAILS(wait(&status), ECHILD);
    FAILS(waitpid(-1, &status, WNOHANG), ECHILD);
    FAILS(waitpid(7, NULL, WUNTRACED), ECHILD);
    IS(status, 5);
    IS(WIFEXITED(0x0300), 1);
    IS(WEXITSTATUS(0x0300), 3);
    IS(WIFSIGNALED(SIGTERM), 1);
    IS(WTERMSIG(SIGTERM), SIGTERM);
    IS(WIFSTOPPED(0x137f), 1);
    IS(WSTOPSIG(0x137f), 0x13);
    IS(WCOREDUMP(0x80 | SIGSEGV) != 0, 1);
}

void processes(void)
{
    struct itimerval timer = {{0, 0}, {1, 0}};
    no_second_process();
    no_children();
    IS(getpid(), 1);
    IS(getppid(), 0);
    IS(getpgrp(), 1);
    IS(getpgid(0), 1);
    IS(getpgid(1), 1);
    FAILS(getpgid(2), ESRCH);
    IS(setpgid(0, 0), 0);
    FAILS(setpgid(2, 0), ESRCH);
    IS(setsid(), 1);
    IS(nice(5), 0);
    IS(alarm(1), 0);
    IS(alarm(0), 0);
    FAILS(setitimer(ITIMER_REAL, &timer, NULL), ENOSYS);
    FAILS(getitimer(ITIMER_REAL, &timer), ENOSYS);
}
