/* Reading arguments. See words.h. */
#include "words.h"

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

bool word_is(struct slice word, const char *lower_case)
{
    size_t i = 0;
    for (; i < word.len && lower_case[i] != '\0'; i++) {
        if (lower(word.at[i]) != lower_case[i])
            return false;
    }
    return i == word.len && lower_case[i] == '\0';
}

bool parse_integer(struct slice word, int64_t *out)
{
    bool negative = word.len > 0 && word.at[0] == '-';
    uint64_t limit = negative ? (uint64_t)1 << 63 : INT64_MAX, value = 0;
    size_t i = negative ? 1 : 0;
    if (i == word.len || (word.at[i] == '0' && word.len > 1))
        return false;
    for (; i < word.len; i++) {
        uint64_t digit = (uint64_t)(word.at[i] - '0');
        if (word.at[i] < '0' || word.at[i] > '9' || value > (limit - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *out = negative ? (int64_t)(0 - value) : (int64_t)value;
    return true;
}

struct slice format_integer(char text[NUMBER_TEXT], int64_t value)
{
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    size_t at = NUMBER_TEXT;
    do {
        text[--at] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest != 0);
    if (value < 0)
        text[--at] = '-';
    return (struct slice){text + at, NUMBER_TEXT - at};
}

/* Matches one byte with the pattern's element at `*at`, which moves behind the element. */
static bool matches_one(struct slice pattern, size_t *at, char c)
{
    bool negated, found = false;
    char p = pattern.at[(*at)++];
    if (p == '?')
        return true;
    if (p == '\\' && *at < pattern.len)
        return pattern.at[(*at)++] == c;
    if (p != '[')
        return p == c;
    negated = *at < pattern.len && pattern.at[*at] == '^';
    *at += negated ? 1 : 0;
    while (*at < pattern.len && pattern.at[*at] != ']') {
        unsigned char first, last, byte = (unsigned char)c;
        if (pattern.at[*at] == '\\' && *at + 1 < pattern.len)
            (*at)++;
        first = last = (unsigned char)pattern.at[(*at)++];
        if (*at + 1 < pattern.len && pattern.at[*at] == '-' && pattern.at[*at + 1] != ']') {
            last = (unsigned char)pattern.at[*at + 1];
            *at += 2;
        }
        if (first > last ? last <= byte && byte <= first : first <= byte && byte <= last)
            found = true;
    }
    *at += *at < pattern.len ? 1 : 0;
    return found != negated;
}

bool matches(struct slice pattern, struct slice text)
{
    size_t p = 0, t = 0, star = 0, star_text = 0;
    bool have_star = false;
    while (t < text.len) {
        size_t next = p;
        if (p < pattern.len && pattern.at[p] == '*') {
            have_star = true;
            star = ++p;
            star_text = t;
        } else if (p < pattern.len && matches_one(pattern, &next, text.at[t])) {
            p = next;
            t++;
        } else if (have_star) {
            /* Only the last star can still be wrong: let it take one byte more. */
            p = star;
            t = ++star_text;
        } else {
            return false;
        }
    }
    while (p < pattern.len && pattern.at[p] == '*')
        p++;
    return p == pattern.len;
}
