#include "engine/image/png_chunks.h"

#include <string.h>

uint32_t png_chunk_u32(const uint8_t *from)
{
    return (uint32_t)from[0] << 24 | (uint32_t)from[1] << 16 | (uint32_t)from[2] << 8 | from[3];
}

/* Four letters of ASCII. */
static bool is_name(const uint8_t *type)
{
    for (int i = 0; i < 4; i++) {
        const uint8_t letter = type[i] & 0xdf; /* capital */
        if (letter < 'A' || letter > 'Z')
            return false;
    }
    return true;
}

bool png_chunk_next(const uint8_t *data, size_t size, size_t *position, struct png_chunk *out)
{
    const size_t left = size - *position;
    if (left < PNG_CHUNK_OVERHEAD)
        return false;
    const uint8_t *chunk = data + *position;
    const uint32_t length = png_chunk_u32(chunk);
    if (length > left - PNG_CHUNK_OVERHEAD || !is_name(chunk + 4))
        return false;
    *out = (struct png_chunk){chunk + 4, length};
    *position += PNG_CHUNK_OVERHEAD + (size_t)length;
    return true;
}

bool png_chunk_is(const struct png_chunk *chunk, const char *name)
{
    return memcmp(chunk->type, name, 4) == 0;
}

/* Bytes of a last IDAT chunk that is cut off. */
static size_t cut_size(const uint8_t *data, size_t size, size_t position)
{
    enum { HEAD_SIZE = 8 };
    if (size - position < HEAD_SIZE || memcmp(data + position + 4, "IDAT", 4) != 0)
        return 0;
    return size - position - HEAD_SIZE;
}

bool png_image_data_find(const uint8_t *data, size_t size, struct decode_guard *guard,
                         struct png_image_data *out)
{
    struct png_image_data found = {size, 0};
    struct png_chunk chunk;
    size_t position = PNG_SIGNATURE_SIZE, begin = position;
    bool any = false;
    while (png_chunk_next(data, size, &position, &chunk)) {
        const bool is_data = png_chunk_is(&chunk, "IDAT");
        if (!decode_guard_pass(guard, PNG_CHUNK_OVERHEAD))
            return false;
        if (any && !is_data) {
            found.end = begin;
            *out = found;
            return true;
        }
        any = is_data;
        found.size += is_data ? chunk.length : 0;
        begin = position;
    }
    found.size += cut_size(data, size, position);
    *out = found;
    return true;
}

/* ---- ISA-L ---- */

#if defined(__x86_64__)
__attribute__((target("avx"))) static void clear_upper_halves(void)
{
    __builtin_ia32_vzeroupper();
}

void png_clear_upper_halves(void)
{
    if (__builtin_cpu_supports("avx"))
        clear_upper_halves();
}
#else
void png_clear_upper_halves(void)
{
}
#endif
