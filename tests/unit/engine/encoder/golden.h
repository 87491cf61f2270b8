/* Golden fixtures: embeddings that PyTorch computed in float64, committed so that tests need no
 * PyTorch. tests/fixtures/encoder/make.py writes them and describes the file. */
#ifndef CHIPSHOT_TESTS_UNIT_ENGINE_ENCODER_GOLDEN_H
#define CHIPSHOT_TESTS_UNIT_ENGINE_ENCODER_GOLDEN_H

#include <stddef.h>
#include <stdint.h>

/* |found - wanted| / |wanted| */
double golden_error(const float *found, const float *wanted, size_t n);

/* Fails the test unless the fixture belongs to the bytes of `weights_path`, and the engine embeds
 * each of its chips to `dimension` numbers with a relative L2 error under 1e-4. */
void golden_compare(const char *weights_path, const char *golden_path, uint32_t dimension);

#endif
