/* Names of files as clients write them. See name.h. */
#include "name.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "request.h"

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Bytes of the UTF-8 sequence at `at`, or 0. Refuses overlong forms, surrogates and values above U+10FFFF. */
static size_t utf8_sequence(const unsigned char *at, size_t left)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t len = at[0] < 0x80 ? 1 : at[0] < 0xc0 ? 0 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : at[0] < 0xf8 ? 4 : 0;
    uint32_t value;
    if (len <= 1 || len > left)
        return len <= left ? len : 0;
    value = at[0] & (0xffu >> (len + 1));
    for (size_t i = 1; i < len; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
        value = value << 6 | (at[i] & 0x3fu);
    }
    if (value < smallest[len] || value > 0x10ffff || (value >= 0xd800 && value < 0xe000))
        return 0;
    return len;
}

static bool is_utf8(const char *bytes, size_t len)
{
    for (size_t at = 0; at < len;) {
        size_t sequence = utf8_sequence((const unsigned char *)bytes + at, len - at);
        if (sequence == 0)
            return false;
        at += sequence;
    }
    return true;
}

bool decode_name(const char *encoded, size_t len, char *name)
{
    size_t out = 0;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)encoded[i];
        if (c == '%') {
            int high = i + 2 < len ? hex(encoded[i + 1]) : -1;
            int low = i + 2 < len ? hex(encoded[i + 2]) : -1;
            if (high < 0 || low < 0)
                return false;
            c = (unsigned char)(high << 4 | low);
            i += 2;
        }
        if (c < ' ' || c == 127 || c == '/' || c == '\\' || out == MAX_NAME)
            return false;
        name[out++] = (char)c;
    }
    name[out] = '\0';
    return out > 0 && name[0] != '.' && is_utf8(name, out);
}

static const struct {
    const char *extension;
    const char *type;
    bool image;
} types[] = {
    {"jpg", "image/jpeg", true},
    {"jpeg", "image/jpeg", true},
    {"png", "image/png", true},
    {"gif", "image/gif", true},
    {"webp", "image/webp", true},
    {"svg", "image/svg+xml", true},
    {"txt", "text/plain; charset=utf-8", false},
    {"html", "text/html; charset=utf-8", false},
};

static int type_index(const char *name)
{
    const char *dot = strrchr(name, '.');
    if (dot == NULL)
        return -1;
    for (int i = 0; i < (int)(sizeof types / sizeof *types); i++) {
        if (strcasecmp(dot + 1, types[i].extension) == 0)
            return i;
    }
    return -1;
}

const char *content_type(const char *name)
{
    int index = type_index(name);
    return index < 0 ? "application/octet-stream" : types[index].type;
}

bool is_image(const char *name)
{
    int index = type_index(name);
    return index >= 0 && types[index].image;
}
