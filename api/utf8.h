/* UTF-8 checks of text from clients (RFC 3629: no overlong forms, no surrogates). */
#ifndef CHIPSHOT_API_UTF8_H
#define CHIPSHOT_API_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Number of characters (code points) of `size` bytes, or -1 when they are not UTF-8. */
ptrdiff_t utf8_length(const char *text, size_t size);

/* Bytes of the first `n_characters` characters of valid UTF-8 text (all, when it has fewer). */
size_t utf8_prefix(const char *text, size_t n_characters);

/* True when the text holds a control character (C0, DEL). */
bool utf8_has_control(const char *text, size_t size);

/* Replaces every byte that is not part of valid UTF-8 by '?', in place: for messages that were cut
 * at a byte limit or quote a client's bytes. */
void utf8_repair(char *text);

#endif
