/* See db/text.h. */
#include "db/text.h"

bool db_text_is_utf8(const unsigned char *text, size_t size)
{
    size_t i = 0;
    while (i < size) {
        unsigned char c = text[i++];
        if (c == 0)
            return false;
        if (c < 0x80)
            continue;
        size_t n_more = c >= 0xc2 && c <= 0xdf ? 1 : c >= 0xe0 && c <= 0xef ? 2 : 3;
        if (c < 0xc2 || c > 0xf4 || size - i < n_more)
            return false;
        unsigned char low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
        unsigned char high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
        if (text[i] < low || text[i] > high)
            return false;
        for (size_t k = 1; k < n_more; k++) {
            if ((text[i + k] & 0xc0) != 0x80)
                return false;
        }
        i += n_more;
    }
    return true;
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
