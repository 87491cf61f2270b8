/* Options that several subcommands have, said once: each macro is an entry of a command's table (a
 * struct command_option) that writes to `target`. */
#ifndef CHIPSHOT_SERVER_COMMON_OPTIONS_H
#define CHIPSHOT_SERVER_COMMON_OPTIONS_H

#include "engine/encoder/encoder.h"
#include "engine/image/chip_grid.h"
#include "engine/pool.h"
#include "server/cli/command.h"

enum {
    OPTION_ROUNDS_MAX = 1000,
    OPTION_ROUND_MS_MAX = 60000,
};

/* What the others are made of. */
#define OPTION_TEXT(option, shown, target, words)                                                  \
    {                                                                                              \
        .name = option, .argument = shown, .value.text = target, .help = words,                    \
    }
#define OPTION_REQUIRED(option, shown, target, words)                                              \
    {                                                                                              \
        .name = option, .argument = shown, .value.text = target, .required = true, .help = words,  \
    }
#define OPTION_INTEGER(option, least, most, target, words)                                         \
    {                                                                                              \
        .name = option, .argument = "N", .type = COMMAND_INTEGER, .value.integer = target,         \
        .min = least, .max = most, .help = words,                                                  \
    }
#define OPTION_FLAG(option, target, words)                                                         \
    {                                                                                              \
        .name = option, .type = COMMAND_FLAG, .value.flag = target, .help = words,                 \
    }

/* ---- what is encoded, and how ---- */

#define OPTION_MANIFEST(target)                                                                    \
    OPTION_REQUIRED("manifest", "FILE", target, "CSV with the columns image,x,y,size,label,group")
#define OPTION_ROOT(target)                                                                        \
    OPTION_REQUIRED("root", "DIR", target, "directory that the manifest's images are relative to")
#define OPTION_ENCODER(target)                                                                     \
    OPTION_TEXT("encoder", "FILE", target, "safetensors weights (default: the built-in encoder)")
#define OPTION_INPUT_SIZES(target)                                                                 \
    OPTION_TEXT("input-size", "N[,N]", target,                                                     \
                "pixels a side that chips are resampled to (default: the encoder's); the "         \
                "embeddings of\n                           several sizes are concatenated")
#define OPTION_STRIDE(target)                                                                      \
    OPTION_INTEGER("stride", 1, CHIP_SIDE_MAX, target,                                             \
                   "pixels from chip to chip (default: the chip's size)")
#define OPTION_ENCODING(target)                                                                    \
    OPTION_TEXT("encoding", "NAME", target,                                                        \
                "chips: each for itself; dense: the image as a whole, so that a chip sees its "    \
                "surroundings\n                           (default: the encoder's)")
#define OPTION_PRECISION(target)                                                                   \
    OPTION_TEXT("precision", "NAME", target,                                                       \
                "float32 (default); faster and less exact, if the processor has AVX512_BF16 or "   \
                "AVX512_VNNI:\n                           bfloat16, int8")
#define OPTION_HEAD(target)                                                                        \
    OPTION_TEXT(                                                                                   \
        "head", "NAME", target,                                                                    \
        "prototypes: nearest class mean (default); ridge: its average with a ridge "               \
        "regression;\n                           auto: ridge from 5 examples of each class on")
#define OPTION_SMOOTHING(target)                                                                   \
    OPTION_TEXT("smoothing", "CHOICE", target,                                                     \
                "off (default); auto: neighbours have a say in labels where they know of each "    \
                "other; on: always")
#define OPTION_STAGES(target)                                                                      \
    OPTION_TEXT("stages", "N[,N]", target, "only these of the stages that the encoder pools")
#define OPTION_STATISTICS(target)                                                                  \
    OPTION_TEXT("statistics", "NAMES", target,                                                     \
                "only mean, only std, or mean,std of what the encoder pools")
#define OPTION_FEATURES(target)                                                                    \
    OPTION_TEXT("features", "NAME", target,                                                        \
                "encoder (default), or mean-std: each chip's mean and standard deviation")
#define OPTION_WORKERS(target)                                                                     \
    OPTION_INTEGER("threads", 1, POOL_WORKERS_MAX, target,                                         \
                   "worker threads (default: one a processor)")

#define OPTION_DATA(target)                                                                        \
    OPTION_TEXT("data", "DIR", target,                                                             \
                "data directory (default: CHIPSHOT_DATA, else the server's default)")

/* ---- what is measured ---- */

#define OPTION_ARCHITECTURE(target)                                                                \
    OPTION_TEXT("arch", "NAME", target,                                                            \
                "random weights of resnet18, resnet34, resnet50 or resnet101 instead")
#define OPTION_SIZE(target)                                                                        \
    OPTION_INTEGER("size", ENCODER_INPUT_SIZE_MIN, ENCODER_INPUT_SIZE_MAX, target,                 \
                   "input size in pixels (default: the encoder's)")
#define OPTION_BATCH(target)                                                                       \
    OPTION_INTEGER("batch", 1, ENCODER_BATCH, target,                                              \
                   "chips a call while speed is measured (default 32, as in a job)")
#define OPTION_ENCODING_THREADS(target)                                                            \
    OPTION_INTEGER("threads", 1, POOL_WORKERS_MAX, target,                                         \
                   "threads that encode at the same time (default 1)")
#define OPTION_ROUNDS(target, words) OPTION_INTEGER("rounds", 1, OPTION_ROUNDS_MAX, target, words)
#define OPTION_ROUND_MS(target)                                                                    \
    OPTION_INTEGER("round-ms", 1, OPTION_ROUND_MS_MAX, target,                                     \
                   "least length of a round in milliseconds (default 500)")
#define OPTION_JSON(target) OPTION_FLAG("json", target, "print one JSON object")

#endif
