/* Calls every function of sdk/c for what it promises: posix checks all that return, and says what differs;
 * `posix HOW` does what ends a program or writes to standard error. */
#include "check.h"

#include <stdio.h>

static int checks, failures;

void check_at(const char *file, int line, const char *what, long long got, long long want)
{
    checks++;
    if (got != want) {
        failures++;
        printf("%s:%d: %s is %lld, not %lld\n", file, line, what, got, want);
    }
}

void check_failure_at(const char *file, int line, const char *what, bool failed, int got, int want)
{
    checks++;
    if (!failed || got != want) {
        failures++;
        printf("%s:%d: %s %s with \"%s\", and should fail with \"%s\"\n", file, line, what, failed ? "fails" : "succeeds",
               strerror(got), strerror(want));
    }
}

int main(int count, char **arguments)
{
    if (count > 1)
        return say(arguments[1]);
    processes();
    users();
    files();
    temporary_files();
    machine();
    signals();
    lookups();
    streams();
    datagrams();
    options();
    polling();
    printf("%d checks, %d failed\n", checks, failures);
    return failures == 0 ? 0 : 1;
}
