/* Checks of what calls return, and what they leave in errno. */
#ifndef CHECK_H
#define CHECK_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

void check_at(const char *file, int line, const char *what, long long got, long long want);
void check_failure_at(const char *file, int line, const char *what, bool failed, int got, int want);

/* The call returns `want`. */
#define IS(call, want) check_at(__FILE_NAME__, __LINE__, #call, (long long)(call), (long long)(want))
/* The call returns -1 with this errno. */
#define FAILS(call, error)                                                                                            \
    do {                                                                                                              \
        errno = 0;                                                                                                    \
        bool failed = (call) == -1;                                                                                   \
        check_failure_at(__FILE_NAME__, __LINE__, #call, failed, errno, error);                                       \
    } while (0)
/* The call returns a null pointer with this errno. */
#define FAILS_NULL(call, error)                                                                                       \
    do {                                                                                                              \
        errno = 0;                                                                                                    \
        bool failed = (call) == NULL;                                                                                 \
        check_failure_at(__FILE_NAME__, __LINE__, #call, failed, errno, error);                                       \
    } while (0)

/* A number that no descriptor has. */
#define NO_FD 77

/* One for each group of calls. */
void processes(void);
void users(void);
void files(void);
void temporary_files(void);
void machine(void);
void signals(void);
void lookups(void);
void streams(void);
void datagrams(void);
void options(void);
void polling(void);

/* What ends the program or writes to standard error; `how` is the program's first argument. */
int say(const char *how);

#endif
