#include "engine/fewshot/map/legend.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "engine/fewshot/map/lettering.h"

/* At scale 1, in pixels. */
enum {
    SIDE_PER_SCALE = 340, /* of the picture's shorter side */
    PADDING = 4,
    MARGIN = 5, /* to the picture's edge */
    GAP = 4,
    LINE = LETTERING_HEIGHT + 4,
    BAR = 3,
};
enum { NAME_MAX = 28, NAME_MIN = 4, CUT = 2 /* dots that say so */ };

static uint32_t scale_of(uint32_t width, uint32_t height)
{
    const uint32_t side = width < height ? width : height;
    const uint32_t scale = (side + SIDE_PER_SCALE / 2) / SIDE_PER_SCALE;
    return scale > 0 ? scale : 1;
}

/* ---- names ---- */

struct layout {
    uint32_t scale;
    uint32_t n_lines; /* with the one that says how many more there are */
    uint32_t n_shown;
    uint32_t n_letters; /* of the longest name that is shown, cut */
};

static bool plan(const struct legend_entry *entries, uint32_t n, uint32_t width, uint32_t height,
                 struct layout *out)
{
    struct layout layout = {.scale = scale_of(width, height)};
    const uint32_t frame = 2 * (PADDING + MARGIN) * layout.scale;
    const uint32_t before = frame + (LETTERING_HEIGHT + GAP) * layout.scale;
    const uint32_t letter = LETTERING_WIDTH * layout.scale;
    const uint32_t n_rows = height > frame ? (height - frame) / (LINE * layout.scale) : 0;
    const uint32_t n_room = width > before ? (width - before) / letter : 0;
    const uint32_t n_max = n_room < NAME_MAX ? n_room : NAME_MAX;
    if (n == 0 || n_rows == 0 || n_max < NAME_MIN || (n > n_rows && n_rows < 2))
        return false;
    layout.n_lines = n <= n_rows ? n : n_rows;
    layout.n_shown = n <= n_rows ? n : n_rows - 1;
    layout.n_letters = n <= n_rows ? 0 : n_max < 10 ? n_max : 10;
    for (uint32_t i = 0; i < layout.n_shown; i++) {
        const uint32_t letters = lettering_count(entries[i].name);
        const uint32_t shown = letters < n_max ? letters : n_max;
        layout.n_letters = shown > layout.n_letters ? shown : layout.n_letters;
    }
    *out = layout;
    return true;
}

static void draw_name(const struct stamp *stamp, const struct layout *layout, const char *name,
                      uint32_t x, uint32_t y)
{
    const uint32_t n = lettering_count(name), scale = layout->scale;
    const uint32_t n_kept = n <= layout->n_letters ? n : layout->n_letters - CUT;
    lettering_draw(stamp, name, n_kept, x, y, scale);
    if (n_kept < n)
        lettering_draw(stamp, "..", CUT, x + n_kept * LETTERING_WIDTH * scale, y, scale);
}

int legend_draw(const struct legend_entry *entries, uint32_t n, uint32_t width, uint32_t height,
                struct stamp *out, struct error *err)
{
    struct layout layout;
    if (!plan(entries, n, width, height, &layout))
        return 0;
    const uint32_t scale = layout.scale, swatch = LETTERING_HEIGHT * scale;
    const uint32_t x = PADDING * scale + swatch + GAP * scale;
    const uint32_t text_width = (layout.n_letters * LETTERING_WIDTH - 1) * scale;
    int rc =
        stamp_init(out, x + text_width + PADDING * scale,
                   (2 * PADDING + layout.n_lines * LINE - (LINE - LETTERING_HEIGHT)) * scale, err);
    if (rc < 0)
        return rc;
    out->x = out->y = MARGIN * scale;
    uint32_t y = PADDING * scale;
    for (uint32_t i = 0; i < layout.n_shown; i++, y += LINE * scale) {
        stamp_fill(out, PADDING * scale, y, swatch, swatch, entries[i].ink);
        draw_name(out, &layout, entries[i].name, x, y);
    }
    if (layout.n_shown < n) {
        char more[32];
        snprintf(more, sizeof(more), "%u more", n - layout.n_shown);
        draw_name(out, &layout, more, x, y);
    }
    return 0;
}

/* ---- the scale ---- */

/* The longest of 1, 2 and 5 times a power of ten that is at most `limit`. */
static double round_length(double limit)
{
    const double power = pow(10.0, floor(log10(limit)));
    const double factors[] = {5.0, 2.0};
    for (int i = 0; i < 2; i++) {
        /* A rounding error must not make 5 of 5. */
        if (factors[i] * power <= limit * (1.0 + 1e-9))
            return factors[i] * power;
    }
    return power;
}

static void name_length(double nm, char *out, size_t size)
{
    static const struct {
        double nm;
        const char *name;
    } units[] = {{1e6, "mm"}, {1e3, "\xc2\xb5m"}, {1.0, "nm"}, {1e-3, "pm"}};
    size_t i = 0;
    while (i < 3 && nm < units[i].nm * (1.0 - 1e-9))
        i++;
    snprintf(out, size, "%.6g %s", nm / units[i].nm, units[i].name);
}

int legend_draw_scale(double pixel_nm, uint32_t width, uint32_t height, struct stamp *out,
                      struct error *err)
{
    const uint32_t scale = scale_of(width, height), frame = 2 * (PADDING + MARGIN) * scale;
    const double nm = round_length(pixel_nm * width / 4);
    char text[32];
    if (!isnormal(nm) || height < frame + (LINE + BAR) * scale)
        return 0;
    name_length(nm, text, sizeof(text));
    const uint32_t bar = (uint32_t)lround(nm / pixel_nm);
    const uint32_t letters = lettering_count(text);
    const uint32_t text_width = (letters * LETTERING_WIDTH - 1) * scale;
    const uint32_t inner = bar > text_width ? bar : text_width;
    if (bar == 0 || inner + frame > width)
        return 0;
    int rc = stamp_init(out, inner + 2 * PADDING * scale, (LINE + BAR + 2 * PADDING) * scale, err);
    if (rc < 0)
        return rc;
    out->x = width - out->width - MARGIN * scale;
    out->y = height - out->height - MARGIN * scale;
    lettering_draw(out, text, letters, PADDING * scale + (inner - text_width) / 2, PADDING * scale,
                   scale);
    stamp_fill(out, PADDING * scale + (inner - bar) / 2, (PADDING + LINE) * scale, bar, BAR * scale,
               STAMP_TEXT);
    return 0;
}
