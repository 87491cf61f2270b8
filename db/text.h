/* The forms of texts that are read back from files: they may have been edited by anyone. */
#ifndef CHIPSHOT_DB_TEXT_H
#define CHIPSHOT_DB_TEXT_H

#include <stdbool.h>

#include "db/id.h"

/* As db_time_now writes it; digits are not checked to be a date that exists. */
bool db_text_is_time(const char *text);
/* 64 lower case hexadecimal digits. */
bool db_text_is_sha256(const char *text);

#endif
