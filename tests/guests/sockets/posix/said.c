/* What ends the program, waits for ever or writes to standard error. */
#include <err.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <syslog.h>
#include <unistd.h>

#include "check.h"

__attribute__((__noreturn__)) static void with_verr(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    verr(5, format, arguments);
}

__attribute__((__noreturn__)) static void with_verrx(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    verrx(6, format, arguments);
}

static void with_vwarn(void (*call)(const char *, va_list), const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    call(format, arguments);
    va_end(arguments);
}

static void with_vsyslog(int priority, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsyslog(priority, format, arguments);
    va_end(arguments);
}

static int warnings(void)
{
    errno = ENOENT;
    warn("number %d", 1);
    errno = ENOENT;
    with_vwarn(vwarn, "number %d", 2);
    warnx("number %d", 3);
    with_vwarn(vwarnx, "number %d", 4);
    errno = ENOENT;
    warn(NULL);
    return 0;
}

static int log_lines(void)
{
    syslog(LOG_INFO, "plain");
    openlog("posix", LOG_PID | LOG_NDELAY, LOG_DAEMON);
    errno = ENOENT;
    syslog(LOG_ERR, "number %d: %m, 100%%", 1);
    IS(errno, ENOENT);
    with_vsyslog(LOG_DAEMON | LOG_WARNING, "number %d\n", 2);
    if (setlogmask(LOG_UPTO(LOG_ERR)) != 0xff || setlogmask(0) != LOG_UPTO(LOG_ERR))
        return 1;
    syslog(LOG_INFO, "left out");
    closelog();
    return 0;
}

static int wait_for_ever(const char *how)
{
    sigset_t none;
    sigemptyset(&none);
    printf("waiting\n");
    fflush(stdout);
    return strcmp(how, "pause") == 0 ? pause() : sigsuspend(&none);
}

int say(const char *how)
{
    errno = EACCES;
    if (strcmp(how, "err") == 0)
        err(3, "said %s", "err");
    if (strcmp(how, "errx") == 0)
        errx(4, "said %s", "errx");
    if (strcmp(how, "verr") == 0)
        with_verr("said %s", "verr");
    if (strcmp(how, "verrx") == 0)
        with_verrx("said %s", "verrx");
    if (strcmp(how, "warn") == 0)
        return warnings();
    if (strcmp(how, "syslog") == 0)
        return log_lines();
    return wait_for_ever(how);
}
