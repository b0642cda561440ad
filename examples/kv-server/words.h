/* Reading arguments: words, numbers and patterns. */
#ifndef WORDS_H
#define WORDS_H

#include <stdbool.h>
#include <stdint.h>

#include "slice.h"

/* Room for the text of any int64_t. */
enum { NUMBER_TEXT = 20 };

/* Whether `word` is `lower_case`, in any case. */
bool word_is(struct slice word, const char *lower_case);

/* A decimal number as Redis takes it: no blanks, no plus sign, no leading zeros. */
bool parse_integer(struct slice word, int64_t *out);

/* Writes a number's text; returns its bytes, which lie in `text`. */
struct slice format_integer(char text[NUMBER_TEXT], int64_t value);

/* Matches a pattern with * ? [a-z] [^a] and backslash. Takes at most pattern times text steps. */
bool matches(struct slice pattern, struct slice text);

#endif
