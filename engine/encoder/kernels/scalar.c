/* Kernels in plain loops, straight from the definitions: what the others are tested against. */
#include "engine/encoder/kernels/kernels.h"

#include "engine/encoder/kernels/winograd_matrices.h"

static float finished(const struct gemm *gemm, uint32_t row, uint32_t column, float sum)
{
    sum += gemm->bias[column];
    if (gemm->residual != NULL)
        sum += gemm->residual[row][gemm->column + column];
    return gemm->relu && !(sum > 0.0f) ? 0.0f : sum;
}

static void multiply(const struct gemm *gemm)
{
    for (uint32_t row = 0; row < gemm->n_rows; row++) {
        float *out = gemm->out[row] + gemm->column;
        for (uint32_t column = 0; column < gemm->width; column++) {
            float sum = gemm->accumulate ? out[column] : 0.0f;
            for (uint32_t tap = 0; tap < gemm->n_taps; tap++) {
                const float *values = gemm->rows[(size_t)tap * gemm->n_rows + row];
                const float *panel = gemm->panels[tap] + column;
                for (uint32_t k = 0; k < gemm->depth; k++)
                    sum += values[k] * panel[(size_t)k * gemm->width];
            }
            out[column] = gemm->finish ? finished(gemm, row, column, sum) : sum;
        }
    }
}

/* Where a tile lies: its map, and the row and column of its first output. */
struct tile_place {
    uint32_t map;
    uint32_t y;
    uint32_t x;
};

static struct tile_place place_tile(const struct winograd *winograd, uint32_t index, uint32_t m)
{
    const uint32_t a_side = (winograd->side + m - 1) / m;
    const uint32_t tile = winograd->first + index;
    const uint32_t in_map = tile % (a_side * a_side);
    return (struct tile_place){tile / (a_side * a_side), in_map / a_side * m, in_map % a_side * m};
}

/* The map's value at a tile's input v, u, which may lie one beside the map or, at its end, more. */
static float map_value(const struct winograd *winograd, struct tile_place place, uint32_t v,
                       uint32_t u, uint32_t channel)
{
    const uint32_t y = place.y + v;
    const uint32_t x = place.x + u;
    const size_t side = winograd->side;
    if (y < 1 || y > side || x < 1 || x > side)
        return 0.0f;
    return winograd->in[((place.map * side + y - 1) * side + x - 1) * winograd->channels + channel];
}

static void transform_input(const struct winograd *winograd, enum winograd_tile kind)
{
    const struct winograd_matrices *matrices = &winograd_matrices[kind];
    const uint32_t m = winograd_outputs(kind);
    const uint32_t p = m + 2;
    for (uint32_t index = 0; index < winograd->n_tiles; index++) {
        const struct tile_place place = place_tile(winograd, index, m);
        for (uint32_t channel = 0; channel < winograd->channels; channel++) {
            float *plane = winograd->planes + (size_t)index * winograd->channels + channel;
            for (uint32_t i = 0; i < p * p; i++, plane += winograd->plane_stride) {
                float sum = 0.0f;
                for (uint32_t v = 0; v < p; v++) {
                    for (uint32_t u = 0; u < p; u++)
                        sum += matrices->input[i / p][v] * matrices->input[i % p][u] *
                               map_value(winograd, place, v, u, channel);
                }
                *plane = sum;
            }
        }
    }
}

static float output_value(const struct winograd *winograd, enum winograd_tile kind,
                          const float *planes, uint32_t y, uint32_t x)
{
    const struct winograd_matrices *matrices = &winograd_matrices[kind];
    const uint32_t p = winograd_outputs(kind) + 2;
    float sum = 0.0f;
    for (uint32_t i = 0; i < p * p; i++)
        sum += matrices->output[y][i / p] * matrices->output[x][i % p] *
               planes[i * winograd->plane_stride];
    return sum;
}

static void transform_output(const struct winograd *winograd, enum winograd_tile kind)
{
    const uint32_t m = winograd_outputs(kind);
    const size_t side = winograd->side;
    for (uint32_t index = 0; index < winograd->n_tiles; index++) {
        const struct tile_place place = place_tile(winograd, index, m);
        for (uint32_t i = 0; i < m * m; i++) {
            const size_t y = place.y + i / m;
            const size_t x = place.x + i % m;
            if (y >= side || x >= side)
                continue;
            const size_t at = ((place.map * side + y) * side + x) * winograd->channels;
            for (uint32_t channel = 0; channel < winograd->channels; channel++) {
                const float *planes =
                    winograd->planes + (size_t)index * winograd->channels + channel;
                float value =
                    output_value(winograd, kind, planes, i / m, i % m) + winograd->bias[channel];
                if (winograd->residual != NULL)
                    value += winograd->residual[at + channel];
                winograd->out[at + channel] = winograd->relu && !(value > 0.0f) ? 0.0f : value;
            }
        }
    }
}

#define WINOGRAD_FUNCTIONS(m)                                                                      \
    static void winograd_input_##m(const struct winograd *winograd)                                \
    {                                                                                              \
        transform_input(winograd, WINOGRAD_##m);                                                   \
    }                                                                                              \
    static void winograd_output_##m(const struct winograd *winograd)                               \
    {                                                                                              \
        transform_output(winograd, WINOGRAD_##m);                                                  \
    }

WINOGRAD_FUNCTIONS(2)
WINOGRAD_FUNCTIONS(3)
WINOGRAD_FUNCTIONS(4)
WINOGRAD_FUNCTIONS(5)
WINOGRAD_FUNCTIONS(6)

static void max_pool(const float *const *rows, uint32_t n_rows, uint32_t side, uint32_t channels,
                     float *out)
{
    const uint32_t out_side = (side - 1) / 2 + 1;
    for (uint32_t i = 0; i < out_side * channels; i++) {
        const uint32_t first = i / channels * 2;
        out[i] = 0.0f;
        for (uint32_t x = first == 0 ? 0 : first - 1; x < first + 2 && x < side; x++) {
            for (uint32_t y = 0; y < n_rows; y++) {
                const float value = rows[y][(size_t)x * channels + i % channels];
                out[i] = value > out[i] ? value : out[i];
            }
        }
    }
}

const struct kernels kernels_scalar = {
    .name = "scalar",
    .gemm = multiply,
    .winograd_input = {winograd_input_2, winograd_input_3, winograd_input_4, winograd_input_5,
                       winograd_input_6},
    .winograd_output = {winograd_output_2, winograd_output_3, winograd_output_4, winograd_output_5,
                        winograd_output_6},
    .max_pool = max_pool,
};
