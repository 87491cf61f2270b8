/* What an embedder is made of, before it embeds anything. */
#include "tests/test.h"

#include "engine/embed.h"
#include "tests/unit/engine/encoder/weights.h"

/* A narrow one that says how it is encoded. */
static struct encoder *make_encoder(const char *encoding)
{
    const struct weights_shape shape = {
        .in_channels = 1, .kernel = 3, .widths = {1, 1, 1, 1}, .depths = {1, 1, 1, 1}};
    struct weights *weights = weights_create(&shape);
    char metadata[100];
    snprintf(metadata, sizeof(metadata), "{\"format\":1,\"input_size\":32,\"encoding\":\"%s\"}",
             encoding);
    weights->metadata = metadata;
    size_t size = 0;
    uint8_t *data = weights_write(weights, &size);
    struct encoder *encoder = NULL;
    assert_int_equal(encoder_create(&encoder, data, size, NULL), 0);
    free(data);
    weights_destroy(weights);
    return encoder;
}

static void what_is_open_is_the_encoders_own(void **state)
{
    (void)state;
    static const enum encoding asked[] = {ENCODING_OWN, ENCODING_CHIPS, ENCODING_DENSE};
    struct pool *pool = NULL;
    assert_int_equal(pool_create(&pool, 1, 64, NULL), 0);
    for (enum encoding own = 0; own < ENCODINGS; own++) {
        struct encoder *encoder = make_encoder(encoding_name(own));
        for (size_t i = 0; i < sizeof(asked) / sizeof(asked[0]); i++) {
            struct embedder *embedder = NULL;
            assert_int_equal(embedder_create(&embedder, pool, encoder, NULL, asked[i],
                                             PRECISION_FLOAT32, NULL, NULL),
                             0);
            assert_int_equal(embedder_encoding(embedder),
                             asked[i] == ENCODING_OWN ? own : asked[i]);
            assert_int_equal(embedder_input_sizes(embedder)->n, 1);
            assert_int_equal(embedder_input_sizes(embedder)->sides[0], 32);
            embedder_destroy(embedder);
        }
        encoder_destroy(encoder);
    }
    pool_destroy(pool);
}

static void wrong_sizes_are_refused(void **state)
{
    (void)state;
    static const struct {
        struct input_sizes sizes;
        enum encoding encoding;
        const char *message;
    } wrong[] = {
        {{1, {15}}, ENCODING_CHIPS, "input size 15 is not within 16..512"},
        {{2, {48, 513}}, ENCODING_CHIPS, "input size 513"},
        {{2, {48, 48}}, ENCODING_CHIPS, "input size 48 does not exceed the one before it, 48"},
        {{3, {16, 96, 48}}, ENCODING_CHIPS, "input size 48 does not exceed the one before it, 96"},
        {{4, {16, 17, 18}}, ENCODING_CHIPS, "input sizes: 4, at most 3"},
        {{2, {48, 385}}, ENCODING_DENSE, "input size 385 is above 384, the largest that dense"},
    };
    struct encoder *encoder = make_encoder("chips");
    struct pool *pool = NULL;
    assert_int_equal(pool_create(&pool, 1, 64, NULL), 0);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct embedder *embedder = NULL;
        struct error err = {0};
        assert_int_equal(embedder_create(&embedder, pool, encoder, &wrong[i].sizes,
                                         wrong[i].encoding, PRECISION_FLOAT32, NULL, &err),
                         ERROR_INVALID);
        assert_null(embedder);
        assert_non_null(strstr(err.message, wrong[i].message));
    }
    char text[INPUT_SIZES_TEXT];
    const struct input_sizes longest = {3, {510, 511, 512}};
    assert_string_equal(input_sizes_text(&longest, text), "510+511+512");
    pool_destroy(pool);
    encoder_destroy(encoder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_open_is_the_encoders_own),
        cmocka_unit_test(wrong_sizes_are_refused),
    };
    return test_run(tests);
}
