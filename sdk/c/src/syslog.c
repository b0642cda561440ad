/* syslog(3): a line on standard error for each message. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

enum { LINE = 1024, IDENTITY = 64 };

static char identity[IDENTITY];
static int mask = 0xff;
static int with_process;

void openlog(const char *name, int options, int facility)
{
    (void)facility;
    with_process = (options & LOG_PID) != 0;
    (void)snprintf(identity, sizeof identity, "%s", name == NULL ? "" : name);
}

void closelog(void)
{
}

int setlogmask(int wanted)
{
    int before = mask;
    if (wanted != 0)
        mask = wanted;
    return before;
}

/* Copies the format with %m replaced, which only syslog knows. */
static void with_error(const char *format, char *out, size_t size, int error)
{
    size_t used = 0;
    while (*format != '\0' && used + 1 < size) {
        if (format[0] == '%' && format[1] == 'm') {
            int added = snprintf(out + used, size - used, "%s", strerror(error));
            used = added < 0 || (size_t)added >= size - used ? size - 1 : used + (size_t)added;
            format += 2;
        } else {
            if (format[0] == '%' && format[1] == '%' && used + 2 < size)
                out[used++] = *format++;
            out[used++] = *format++;
        }
    }
    out[used] = '\0';
}

void vsyslog(int priority, const char *format, va_list arguments)
{
    char expanded[LINE], line[LINE];
    int error = errno;
    if ((mask & LOG_MASK(LOG_PRI(priority))) == 0)
        return;
    with_error(format, expanded, sizeof expanded, error);
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wformat-nonliteral"
    (void)vsnprintf(line, sizeof line, expanded, arguments);
#pragma clang diagnostic pop
    line[strcspn(line, "\n")] = '\0';
    (void)fprintf(stderr, "%s%s%s%s\n", identity, with_process ? "[1]" : "", *identity != '\0' ? ": " : "", line);
    errno = error;
}

void syslog(int priority, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsyslog(priority, format, arguments);
    va_end(arguments);
}
