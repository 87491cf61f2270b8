/* How many files the process may have open. */
#ifndef CHIPSHOT_SERVER_OPEN_FILES_H
#define CHIPSHOT_SERVER_OPEN_FILES_H

#include <stdint.h>

#include "base/error.h"

/* Raises the process's soft limit where it is too low for `max_connections`, each with a file that
 * it sends or receives. ERROR_INVALID: the hard limit is too low as well. */
int open_files_allow(uint32_t max_connections, struct error *err);

#endif
