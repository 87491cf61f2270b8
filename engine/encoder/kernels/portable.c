/* Kernels in GCC's and Clang's own vectors of four, for processors that have no
 * kernels of their own: SSE2 on any x86-64. */
#include "engine/encoder/kernels/kernels.h"

/* Maps are floats: a vector of them may be read from where floats were written. */
typedef float vec __attribute__((vector_size(16), may_alias));
typedef int lanes __attribute__((vector_size(16)));

#define KERNELS          kernels_portable
#define KERNELS_NAME     "portable"
#define VECTOR_LANES     4
#define TILE_VECTORS     2
#define vec_fma(a, b, c) ((a) * (b) + (c))
#define vec_set(x)       ((vec){(x), (x), (x), (x)})

/* As x86's: the second when one is not a number. */
static inline vec vec_max(vec a, vec b)
{
    const lanes larger = a > b;
    return (vec)(((lanes)a & larger) | ((lanes)b & ~larger));
}

#include "engine/encoder/kernels/vector_kernels.inc"
