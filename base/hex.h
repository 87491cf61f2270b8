/* Bytes as hexadecimal digits and back. A few lines of our own: nettle's base16 would bring that
 * library into every room. */
#ifndef CHIPSHOT_BASE_HEX_H
#define CHIPSHOT_BASE_HEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Writes 2 * n_bytes lower case digits and a NUL. */
void hex_encode(const uint8_t *bytes, size_t n_bytes, char *out);

/* Reads n_bytes bytes from the first 2 * n_bytes digits of `text`, of either case. False, and
 * nothing is written, when it holds anything else or ends before. */
bool hex_decode(const char *text, size_t n_bytes, uint8_t *out);

#endif
