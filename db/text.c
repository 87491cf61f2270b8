/* See db/text.h. */
#include "db/text.h"

/* Bytes of the character that `text` starts with; 0 when it is not well-formed. */
static size_t character_size(const unsigned char *text, size_t size)
{
    unsigned char c = text[0];
    if (c < 0x80)
        return c == 0 ? 0 : 1;
    size_t n_more = c <= 0xdf ? 1 : c <= 0xef ? 2 : 3;
    if (c < 0xc2 || c > 0xf4 || size <= n_more)
        return 0;
    unsigned char low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
    unsigned char high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
    if (text[1] < low || text[1] > high)
        return 0;
    for (size_t i = 2; i <= n_more; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    }
    return 1 + n_more;
}

bool db_text_is_utf8(const char *text, size_t size)
{
    for (size_t i = 0; i < size;) {
        size_t n = character_size((const unsigned char *)text + i, size - i);
        if (n == 0)
            return false;
        i += n;
    }
    return true;
}

void db_text_clean(const char *text, char *out, size_t size)
{
    size_t length = strlen(text), n_out = 0;
    for (size_t i = 0; i < length;) {
        size_t n = character_size((const unsigned char *)text + i, length - i);
        size_t n_copied = n == 0 ? 1 : n;
        if (n_out + n_copied >= size)
            break;
        if (n == 0)
            out[n_out] = '?';
        else
            memcpy(out + n_out, text + i, n);
        i += n_copied;
        n_out += n_copied;
    }
    out[n_out] = '\0';
}

bool db_text_is_time(const char *text)
{
    static const char form[] = "0000-00-00T00:00:00.000Z";
    for (size_t i = 0; i < sizeof(form); i++) {
        bool ok = form[i] == '0' ? text[i] >= '0' && text[i] <= '9' : text[i] == form[i];
        if (!ok)
            return false;
    }
    return true;
}

bool db_text_is_sha256(const char *text)
{
    return strlen(text) == DB_SHA256_SIZE - 1 &&
           strspn(text, "0123456789abcdef") == DB_SHA256_SIZE - 1;
}

void db_text_from_digest(const uint8_t digest[DB_DIGEST_SIZE], char out[DB_SHA256_SIZE])
{
    for (size_t i = 0; i < DB_DIGEST_SIZE; i++)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
}
