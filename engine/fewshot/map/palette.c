/* The colours were searched for (tests/bench/palette.py): laid with an opacity of 0.4 over dark and
 * over bright ground, and seen by normal and by colour-blind eyes, each two of the first eight are
 * at least 10.7 apart (CIEDE2000) and 8.4 from the bare ground; solid, none is lost on black. Of
 * Okabe and Ito's seven, which are made to be seen solid, two are 4.5 apart there. The others
 * follow in the order of their distance from those before.
 */
#include "engine/fewshot/map/palette.h"

#include <string.h>

#include "engine/fewshot/classifier.h"

/* Colours are taken from a group only when those before are used up. */
enum { N_COLORS = CLASSIFIER_CLASSES_MAX, GROUP = 8 };

/* clang-format off */
static const struct rgb colors_of_classes[N_COLORS] = {
    {0x00, 0x00, 0xff}, {0xdb, 0x92, 0x24}, {0x49, 0xdb, 0xff}, {0xb6, 0x00, 0x00},
    {0x49, 0x92, 0x6e}, {0xff, 0xff, 0x00}, {0x6e, 0x49, 0x92}, {0xb6, 0xff, 0xb6},
    {0x6e, 0x6e, 0xff}, {0x92, 0xb6, 0x6e}, {0xdb, 0x49, 0x24}, {0x92, 0x49, 0x6e},
    {0x6e, 0xff, 0x6e}, {0x00, 0x49, 0xb6}, {0xdb, 0x6e, 0xb6}, {0xdb, 0xb6, 0x00},
    {0xb6, 0x49, 0x49}, {0x49, 0x49, 0xff}, {0xb6, 0x6e, 0xdb}, {0x00, 0x92, 0x92},
    {0x6e, 0x92, 0x49}, {0x92, 0x00, 0x6e}, {0x24, 0xdb, 0x49}, {0xff, 0x49, 0x00},
    {0xb6, 0xff, 0x49}, {0xb6, 0x24, 0x24}, {0x00, 0xb6, 0xff}, {0xff, 0x49, 0x92},
    {0xdb, 0x92, 0xdb}, {0x92, 0x24, 0x6e}, {0x00, 0x24, 0xdb}, {0xff, 0x00, 0x00},
    {0xb6, 0x49, 0xb6}, {0x6e, 0xdb, 0x92}, {0x6e, 0x24, 0x92}, {0x92, 0xff, 0x92},
    {0xdb, 0x6e, 0x24}, {0x6e, 0x49, 0xdb}, {0xdb, 0xdb, 0x00}, {0xff, 0x6e, 0xff},
    {0x49, 0xb6, 0x49}, {0x24, 0x6e, 0x49}, {0xff, 0x6e, 0x00}, {0x92, 0xdb, 0x24},
    {0xdb, 0x6e, 0x6e}, {0x92, 0xff, 0x24}, {0x6e, 0x92, 0xb6}, {0xb6, 0x00, 0xb6},
    {0x49, 0x24, 0xff}, {0x24, 0x92, 0xdb}, {0x49, 0x6e, 0xdb}, {0x92, 0xdb, 0x6e},
    {0xff, 0x92, 0x6e}, {0xff, 0xff, 0x6e}, {0xff, 0xb6, 0xff}, {0x6e, 0x6e, 0x24},
    {0x49, 0x6e, 0xb6}, {0xff, 0xdb, 0x6e}, {0x6e, 0x24, 0xdb}, {0x00, 0xff, 0x49},
    {0x24, 0x6e, 0x6e}, {0xdb, 0x00, 0x00}, {0x92, 0x92, 0xdb}, {0xdb, 0x24, 0x6e},
};
/* clang-format on */

struct rgb palette_color(uint32_t index)
{
    return colors_of_classes[index % N_COLORS];
}

/* FNV-1a, of the name and the colour's number, then mixed as by MurmurHash3, since the last bytes
 * of FNV say little about its high bits. */
static uint64_t hash(const char *name, uint32_t color)
{
    uint64_t value = UINT64_C(0xcbf29ce484222325) ^ color;
    for (; *name != '\0'; name++)
        value = (value ^ (unsigned char)*name) * UINT64_C(0x100000001b3);
    value = (value ^ value >> 33) * UINT64_C(0xff51afd7ed558ccd);
    value = (value ^ value >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
    return value ^ value >> 33;
}

static bool is_before(const char *a, const char *b)
{
    const uint64_t hash_a = hash(a, N_COLORS), hash_b = hash(b, N_COLORS);
    return hash_a != hash_b ? hash_a < hash_b : strcmp(a, b) < 0;
}

/* The next class whose turn it is; n: none. */
static uint32_t find_next(const char *const *names, const bool *has_color, uint32_t n)
{
    uint32_t next = n;
    for (uint32_t i = 0; i < n; i++) {
        if (!has_color[i] && (next == n || is_before(names[i], names[next])))
            next = i;
    }
    return next;
}

/* Of the free colours of the first group that has any, the one that suits the name best. */
static uint32_t choose(const char *name, const bool *is_used)
{
    for (uint32_t group = 0; group < N_COLORS; group += GROUP) {
        uint32_t best = N_COLORS;
        for (uint32_t i = group; i < group + GROUP; i++) {
            if (!is_used[i] && (best == N_COLORS || hash(name, i) > hash(name, best)))
                best = i;
        }
        if (best < N_COLORS)
            return best;
    }
    return (uint32_t)(hash(name, 0) % N_COLORS);
}

void palette_assign(const char *const *names, uint32_t n, bool *has_color, struct rgb *colors)
{
    bool is_used[N_COLORS] = {false};
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t k = 0; k < N_COLORS; k++) {
            const struct rgb *one = &colors_of_classes[k];
            if (has_color[i] && memcmp(one, &colors[i], sizeof(*one)) == 0)
                is_used[k] = true;
        }
    }
    uint32_t next;
    while ((next = find_next(names, has_color, n)) < n) {
        const uint32_t color = choose(names[next], is_used);
        is_used[color] = true;
        colors[next] = colors_of_classes[color];
        has_color[next] = true;
    }
}
