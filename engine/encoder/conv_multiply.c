/* Products are nearly all of an encoder's time, so they are the place where its thread gives way to
 * others. */
#include "engine/encoder/conv.h"
#include "engine/give_way.h"

/* Between two looks: some 15 microseconds with AVX-512, 40 with AVX2. */
static const uint64_t look_products = 1 << 20;

void conv_multiply(struct conv_scratch *scratch, void (*product)(const struct gemm *gemm),
                   const struct gemm *gemm)
{
    product(gemm);
    scratch->n_products += (uint64_t)gemm->n_rows * gemm->n_taps * gemm->depth * gemm->width;
    if (scratch->n_products < look_products)
        return;
    scratch->n_products = 0;
    give_way();
}
