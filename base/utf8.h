/* UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF. Texts come
 * from clients and from files that anyone may have edited; what is not UTF-8 is refused or made it.
 */
#ifndef CHIPSHOT_BASE_UTF8_H
#define CHIPSHOT_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes of the character that `text` begins with, or 0 when it is not valid UTF-8. NUL is a
 * character of one byte. `size` is at least 1. */
size_t utf8_character_size(const char *text, size_t size);

/* Number of characters (code points) of `size` bytes, or -1 when they are not UTF-8. */
ptrdiff_t utf8_length(const char *text, size_t size);

/* True when `size` bytes are valid UTF-8 without NUL: what a string may hold. */
bool utf8_is_text(const char *text, size_t size);

/* Bytes of the first `n_characters` characters of valid UTF-8 text (all, when it has fewer). */
size_t utf8_prefix(const char *text, size_t n_characters);

/* True when the text holds a control character (C0, DEL). */
bool utf8_has_control(const char *text, size_t size);

/* Replaces every byte that is not part of valid UTF-8 by '?', in place: for messages that were cut
 * at a byte limit or quote a client's bytes. */
void utf8_repair(char *text);

/* Copies as much of a string as fits in `size` bytes with the closing NUL, in whole characters, and
 * repaired as above. */
void utf8_copy(const char *text, char *out, size_t size);

#endif
