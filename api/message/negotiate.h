/* Header fields that choose or guard a representation: Accept, Content-Type, entity tags, Prefer.
 * Pure functions over header values. */
#ifndef CHIPSHOT_API_NEGOTIATE_H
#define CHIPSHOT_API_NEGOTIATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Index of the media type among `offered` (NULL-terminated) that an Accept value (RFC 9110 section
 * 12.5.1; NULL: anything) likes best, the earlier one on a tie; -1 when it accepts none. */
int negotiate_accept(const char *accept, const char *const *offered);

/* True when a Content-Type value names one of `accepted` (NULL-terminated); parameters are ignored.
 */
bool negotiate_content_type(const char *content_type, const char *const *accepted);

/* RFC 9110 section 8.8.3.2. Weak comparison ignores W/ prefixes (If-None-Match); in strong
 * comparison weak tags never match (If-Match). */
enum etag_comparison { ETAG_STRONG, ETAG_WEAK };

/* True when `etag` (with its quotes) is in an If-Match or If-None-Match value, or the value is "*".
 */
bool negotiate_etag(const char *value, const char *etag, enum etag_comparison comparison);

/* The `wait` of a Prefer value (RFC 7240) in seconds. False when there is none or it is not a
 * number: unknown preferences are ignored. Large values give UINT32_MAX. */
bool negotiate_wait(const char *prefer, uint32_t *seconds);

#endif
