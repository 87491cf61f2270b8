/* Kernels for AArch64, all of whose processors have NEON with fused multiply-add: 32 registers of 4
 * floats. */
#if defined(__aarch64__)

#include <arm_neon.h>

/* Maps are floats: a vector of them may be read from where floats were written. */
typedef float vec __attribute__((vector_size(16), may_alias));

#define KERNELS          kernels_neon
#define KERNELS_NAME     "neon"
#define VECTOR_LANES     4
#define TILE_VECTORS     4
#define TILE_ROWS        5 /* six, with six values beside them, would not fit */
#define vec_fma(a, b, c) ((vec)vfmaq_f32(c, a, b))
#define vec_max(a, b)    ((vec)vmaxnmq_f32(a, b)) /* the number when one is not a number */
#define vec_set(x)       ((vec)vdupq_n_f32(x))

#include "engine/encoder/kernels/vector_kernels.inc"

#endif
