/* Texts that may have been edited by anyone are read byte by byte: nothing is assumed of them. */
#include "db/text.h"

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
