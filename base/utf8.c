#include "base/utf8.h"

#include <string.h>

size_t utf8_character_size(const char *text, size_t size)
{
    const unsigned char *bytes = (const unsigned char *)text;
    const unsigned char lead = bytes[0];
    if (lead < 0x80)
        return 1;
    const size_t n = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (lead < 0xc2 || lead > 0xf4 || n > size)
        return 0;
    /* The second byte is where overlong forms, surrogates and what is too large differ (table 3-7
     * of the Unicode Standard). */
    const unsigned char low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    const unsigned char high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    if (bytes[1] < low || bytes[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++) {
        if ((bytes[i] & 0xc0) != 0x80)
            return 0;
    }
    return n;
}

ptrdiff_t utf8_length(const char *text, size_t size)
{
    ptrdiff_t length = 0;
    for (size_t at = 0; at < size; length++) {
        size_t n = utf8_character_size(text + at, size - at);
        if (n == 0)
            return -1;
        at += n;
    }
    return length;
}

bool utf8_is_text(const char *text, size_t size)
{
    return memchr(text, '\0', size) == NULL && utf8_length(text, size) >= 0;
}

size_t utf8_prefix(const char *text, size_t n_characters)
{
    size_t at = 0;
    for (size_t seen = 0; text[at] != '\0'; at++) {
        if (((unsigned char)text[at] & 0xC0) != 0x80 && seen++ == n_characters)
            break;
    }
    return at;
}

bool utf8_has_control(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7F)
            return true;
    }
    return false;
}

void utf8_repair(char *text)
{
    size_t size = strlen(text);
    for (size_t at = 0; at < size;) {
        size_t n = utf8_character_size(text + at, size - at);
        if (n == 0)
            text[at] = '?';
        at += n == 0 ? 1 : n;
    }
}

void utf8_copy(const char *text, char *out, size_t size)
{
    const size_t length = strlen(text);
    size_t n_out = 0;
    for (size_t at = 0; at < length;) {
        const size_t n = utf8_character_size(text + at, length - at);
        const size_t n_copied = n == 0 ? 1 : n;
        if (n_out + n_copied >= size)
            break;
        if (n == 0)
            out[n_out] = '?';
        else
            memcpy(out + n_out, text + at, n);
        at += n_copied;
        n_out += n_copied;
    }
    out[n_out] = '\0';
}
