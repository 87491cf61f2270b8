/* What `embed` and `evaluate` turn the chips of a manifest into: the embeddings of an encoder, at
 * one input size or several, whole or some of their pooled parts; or, as the baseline that an
 * encoder has to beat, each chip's mean and standard deviation. */
#ifndef CHIPSHOT_SERVER_EMBEDDING_CHOICE_H
#define CHIPSHOT_SERVER_EMBEDDING_CHOICE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/embed.h"
#include "engine/image/normalise.h"
#include "server/cli/manifest.h"

enum embedding_kind { EMBEDDING_ENCODER, EMBEDDING_MEAN_STD };

/* Options as given; NULL: not given. */
struct embedding_options {
    const char *kind;        /* "encoder" or "mean-std" */
    const char *input_sizes; /* "48,96" */
    const char *encoding;    /* "chips" or "dense" */
    const char *precision;   /* "bfloat16" or "int8" */
    const char *stages;      /* "2,3,4" */
    const char *statistics;  /* "mean,std" */
};

struct embedding_choice {
    enum embedding_kind kind;
    struct input_sizes input_sizes;
    enum encoding encoding; /* ENCODING_OWN: the encoder's own */
    enum precision precision;
    bool some_stages; /* false: all that the encoder pools */
    bool stages[ENCODER_POOLED];
    bool some_statistics; /* false: all that the encoder pools */
    bool mean;
    bool std;
};

/* ERROR_INVALID names the option. */
int embedding_choice_parse(const struct embedding_options *options, struct embedding_choice *out,
                           struct error *err);

/* "48,96"; NULL: the encoder's own. ERROR_INVALID names the option --input-size. */
int embedding_parse_input_sizes(const char *text, struct input_sizes *out, struct error *err);

/* NULL: ENCODING_OWN. ERROR_INVALID names the option --encoding. */
int embedding_parse_encoding(const char *text, enum encoding *out, struct error *err);

/* NULL: float32. ERROR_INVALID, naming --precision, also when the processor does not offer it. */
int embedding_parse_precision(const char *text, enum precision *out, struct error *err);

/* One row of *dimension floats a chip, in the manifest's order, malloc'd; `root` is the directory
 * of the images. Images are normalised whole, by the default method. encoder_path NULL: the
 * built-in encoder; n_threads 0: one a processor. ERROR_INVALID: a row's chip lies outside its
 * image, or the encoder does not pool what is selected. */
int embedding_choice_compute(const struct embedding_choice *choice, const struct manifest *manifest,
                             const char *root, const char *encoder_path, uint64_t n_threads,
                             float **out, uint32_t *dimension, struct error *err);

/* The same bit by bit: of parts of a manifest, and with another range of grey levels. */
struct embedding_maker;
int embedding_maker_create(struct embedding_maker **out, const struct embedding_choice *choice,
                           const char *encoder_path, uint64_t n_threads, struct error *err);
void embedding_maker_destroy(struct embedding_maker *maker); /* NULL allowed */
uint32_t embedding_maker_dimension(const struct embedding_maker *maker);
int embedding_maker_embed(struct embedding_maker *maker, const struct manifest *manifest,
                          const char *root, const struct normalise_params *normalise, float **out,
                          struct error *err);

#endif
