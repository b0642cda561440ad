/* What the answers say, without anything of the host: this is what the tests call. */
#ifndef ANSWERS_H
#define ANSWERS_H

#include <stddef.h>

/* Writes the greeting; `name=` of the query says whom. */
void greeting(const char *query, char *text, size_t size);

/* Writes a line for each variable, and gives how many bytes that are; the text may have been cut. */
size_t environment(char *const *variables, char *text, size_t size);

#endif
