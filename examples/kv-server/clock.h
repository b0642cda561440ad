/* The time of the round: the clock is read at most once between two polls, and only when somebody asks. */
#ifndef CLOCK_H
#define CLOCK_H

#include <stdint.h>

/* Milliseconds since 1970. */
int64_t clock_ms(void);

/* Has the next call read the clock again. */
void clock_forget(void);

#endif
