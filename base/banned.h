/* Included into every file by the compiler's command line: functions that cannot be used safely
 * fail to compile (the habit is git's banned.h). */
#ifndef CHIPSHOT_BASE_BANNED_H
#define CHIPSHOT_BASE_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#pragma GCC poison strcpy strcat strncpy strncat sprintf vsprintf gets strtok
#pragma GCC poison gmtime localtime ctime asctime atoi atol atof tmpnam mktemp system popen

#endif
