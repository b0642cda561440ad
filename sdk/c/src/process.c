/* Processes: there is one, and it has no children. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THIS_PROCESS = 1 };

static int no_such_call(void)
{
    errno = ENOSYS;
    return -1;
}

pid_t fork(void)
{
    return no_such_call();
}

int execv(const char *path, char *const arguments[])
{
    (void)path, (void)arguments;
    return no_such_call();
}

int execve(const char *path, char *const arguments[], char *const environment[])
{
    (void)path, (void)arguments, (void)environment;
    return no_such_call();
}

int execl(const char *path, const char *argument, ...)
{
    (void)path, (void)argument;
    return no_such_call();
}

int daemon(int keep_folder, int keep_streams)
{
    (void)keep_folder, (void)keep_streams;
    return no_such_call();
}

int system(const char *command)
{
    /* A null pointer asks whether there is a shell. */
    return command == NULL ? 0 : no_such_call();
}

FILE *popen(const char *command, const char *mode)
{
    (void)command, (void)mode;
    no_such_call();
    return NULL;
}

int pclose(FILE *stream)
{
    (void)stream;
    errno = ECHILD;
    return -1;
}

pid_t wait(int *status)
{
    return waitpid(-1, status, 0);
}

pid_t waitpid(pid_t process, int *status, int options)
{
    (void)process, (void)status, (void)options;
    errno = ECHILD;
    return -1;
}

pid_t getpid(void)
{
    return THIS_PROCESS;
}

pid_t getppid(void)
{
    return 0;
}

pid_t getpgrp(void)
{
    return THIS_PROCESS;
}

static int known(pid_t process)
{
    if (process == 0 || process == THIS_PROCESS)
        return THIS_PROCESS;
    errno = ESRCH;
    return -1;
}

pid_t getpgid(pid_t process)
{
    return known(process);
}

int setpgid(pid_t process, pid_t group)
{
    return known(process) < 0 || known(group) < 0 ? -1 : 0;
}

pid_t setsid(void)
{
    return THIS_PROCESS;
}

int nice(int increment)
{
    (void)increment;
    return 0;
}

/* No signal comes from outside, so none is waiting. */
unsigned alarm(unsigned seconds)
{
    (void)seconds;
    return 0;
}

int getitimer(int which, struct itimerval *value)
{
    (void)which, (void)value;
    return no_such_call();
}

int setitimer(int which, const struct itimerval *restrict value, struct itimerval *restrict before)
{
    (void)which, (void)value, (void)before;
    return no_such_call();
}

int pause(void)
{
    for (;;)
        (void)poll(NULL, 0, -1);
}

int kill(pid_t process, int number)
{
    if (known(process) < 0)
        return -1;
    return number == 0 ? 0 : raise(number);
}
