#include "api/utf8.h"

#include <stdint.h>
#include <string.h>

/* Bytes of the character at `text`, 0 when it is not valid UTF-8. */
static size_t character_size(const unsigned char *text, size_t size)
{
    static const uint32_t lowest[5] = {0, 0, 0x80, 0x800, 0x10000};
    if (text[0] < 0x80)
        return 1;
    size_t n = text[0] >= 0xF0 ? 4 : text[0] >= 0xE0 ? 3 : 2;
    if (text[0] < 0xC2 || text[0] > 0xF4 || n > size)
        return 0;
    uint32_t code = text[0] & (0xFFu >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if ((text[i] & 0xC0) != 0x80)
            return 0;
        code = code << 6 | (text[i] & 0x3Fu);
    }
    if (code < lowest[n] || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF))
        return 0;
    return n;
}

ptrdiff_t utf8_length(const char *text, size_t size)
{
    ptrdiff_t length = 0;
    for (size_t at = 0; at < size; length++) {
        size_t n = character_size((const unsigned char *)text + at, size - at);
        if (n == 0)
            return -1;
        at += n;
    }
    return length;
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
        size_t n = character_size((const unsigned char *)text + at, size - at);
        if (n == 0)
            text[at] = '?';
        at += n == 0 ? 1 : n;
    }
}
