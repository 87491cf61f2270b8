/* Fuzz target: any bytes as an encoder file; what loads must embed to finite values.
 * Seeds: tests/fixtures/encoder/ *.safetensors. */
#include "tests/fuzz/fuzz.h"

#include <math.h>
#include <stdlib.h>

#include "engine/encoder/encoder.h"

/* One flat chip of the smallest size. */
static void embed_one(const struct encoder *encoder)
{
    struct encoder_workspace *workspace = NULL;
    float chip[ENCODER_INPUT_SIZE_MIN * ENCODER_INPUT_SIZE_MIN];
    for (size_t i = 0; i < sizeof(chip) / sizeof(chip[0]); i++)
        chip[i] = 0.5f;
    const uint32_t dimension = encoder_info(encoder)->dimension;
    float *out = calloc(dimension, sizeof(*out));
    if (out != NULL && encoder_workspace_create(&workspace, encoder, ENCODER_INPUT_SIZE_MIN,
                                                PRECISION_FLOAT32, NULL, NULL) == 0) {
        encoder_embed(encoder, workspace, chip, 1, out);
        for (uint32_t i = 0; i < dimension; i++) {
            if (!isfinite(out[i]))
                __builtin_trap();
        }
    }
    encoder_workspace_destroy(workspace);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct encoder *encoder = NULL;
    struct error err = {0};
    int rc = encoder_create(&encoder, data, size, &err);
    if ((rc == 0) != (encoder != NULL) || rc != err.code)
        __builtin_trap();
    if (encoder != NULL)
        embed_one(encoder);
    encoder_destroy(encoder);
    return 0;
}
