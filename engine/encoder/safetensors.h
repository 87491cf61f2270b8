/* Reader of the safetensors format (https://github.com/huggingface/safetensors, README "Format"):
 * 8 bytes little-endian header length N, N bytes of JSON, then the tensors' bytes.
 *
 * The file is hostile: header length, offsets, overlaps and gaps, dtypes, shapes and duplicate
 * names are all checked. JSON is parsed in engine/ here and in encoder.c only, because the format's
 * header and the metadata in it are JSON (docs/adr/0002).
 */
#ifndef CHIPSHOT_ENGINE_ENCODER_SAFETENSORS_H
#define CHIPSHOT_ENGINE_ENCODER_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum { SAFETENSORS_MAX_RANK = 8 };

enum safetensors_dtype { SAFETENSORS_F32, SAFETENSORS_F16, SAFETENSORS_BF16, SAFETENSORS_I64 };

struct safetensors_tensor {
    const char *name; /* borrowed from the file object */
    enum safetensors_dtype dtype;
    uint32_t rank;
    uint64_t shape[SAFETENSORS_MAX_RANK];
    uint64_t n_elements;
    const uint8_t *data; /* borrowed from the caller's bytes */
};

struct safetensors;

/* Opens `data` (borrowed until destroy). ERROR_INVALID with what is wrong and where. ERROR_NOMEM.
 */
int safetensors_create(struct safetensors **out, const void *data, size_t size, struct error *err);
void safetensors_destroy(struct safetensors *file);

size_t safetensors_n_tensors(const struct safetensors *file);
const struct safetensors_tensor *safetensors_at(const struct safetensors *file, size_t index);
/* NULL when there is no such tensor. */
const struct safetensors_tensor *safetensors_find(const struct safetensors *file, const char *name);
/* A value of __metadata__, or NULL; borrowed. */
const char *safetensors_metadata(const struct safetensors *file, const char *key);

/* Converts a tensor's elements to float32; `out` holds n_elements. I64 is refused (ERROR_INVALID).
 */
int safetensors_to_float(const struct safetensors_tensor *tensor, float *out, struct error *err);

#endif
