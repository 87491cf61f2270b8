/* The forms of texts that are read back from files: they may have been edited by anyone. */
#ifndef CHIPSHOT_DB_TEXT_H
#define CHIPSHOT_DB_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "db/db.h"

/* Well-formed UTF-8 without NUL (Unicode 15, table 3-7). */
bool db_text_is_utf8(const char *text, size_t size);
/* Copies as much as fits in whole characters, with "?" for every byte that is not UTF-8. */
void db_text_clean(const char *text, char *out, size_t size);
/* As db_time_now writes it; digits are not checked to be a date that exists. */
bool db_text_is_time(const char *text);
/* 64 lower case hexadecimal digits. */
bool db_text_is_sha256(const char *text);

enum { DB_DIGEST_SIZE = 32 };
void db_text_from_digest(const uint8_t digest[DB_DIGEST_SIZE], char out[DB_SHA256_SIZE]);

#endif
