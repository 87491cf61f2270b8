/* chipshot encoder info: describes an encoder file. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "engine/encoder/encoder.h"
#include "server/cli/command.h"
#include "server/cli/session.h"

/* Names what is pooled of a stage; of stage 0 with how often it stands there. */
static void print_statistics(const struct encoder_info *info, uint32_t stage)
{
    static const char *const names[ENCODER_STATISTICS] = {"mean", "standard deviation"};
    const bool pooled[ENCODER_STATISTICS] = {info->pool_mean, info->pool_std};
    const char *between = " ";
    for (size_t i = 0; i < ENCODER_STATISTICS; i++) {
        if (!pooled[i])
            continue;
        printf("%s%s", between, stage == 0 && i == ENCODER_STD ? "slow contrast" : names[i]);
        if (stage == 0)
            printf(" (%" PRIu32 " copies)", info->chip_copies[i]);
        between = " and ";
    }
    printf("; ");
}

static void print_pool(const struct encoder_info *info)
{
    printf("pooled:       ");
    for (uint32_t i = 0; i < ENCODER_POOLED; i++) {
        if (!info->pool_stages[i])
            continue;
        printf("%s %" PRIu32, i == 0 ? "the chip itself as stage" : "stage", i);
        print_statistics(info, i);
    }
    printf("dimension %" PRIu32 "\n", info->dimension);
}

static void print_info(const struct encoder_info *info)
{
    printf("name:         %s\n", info->name);
    printf("architecture: %s (%s), blocks", info->architecture,
           info->bottleneck ? "Bottleneck" : "BasicBlock");
    for (uint32_t i = 0; i < info->n_stages; i++)
        printf(" %" PRIu32, info->depths[i]);
    printf(", widths");
    for (uint32_t i = 0; i < info->n_stages; i++)
        printf(" %" PRIu32, info->widths[i]);
    printf("\ninput:        %" PRIu32 " channel(s), %" PRIu32 " x %" PRIu32 " px, mean",
           info->in_channels, info->input_size, info->input_size);
    for (uint32_t i = 0; i < info->in_channels; i++)
        printf(" %g", (double)info->mean[i]);
    printf(", std");
    for (uint32_t i = 0; i < info->in_channels; i++)
        printf(" %g", (double)info->std[i]);
    printf("\n");
    print_pool(info);
    printf("encoding:     %s\n", encoding_name(info->encoding));
    printf("parameters:   %" PRIu64 "\n", info->n_parameters);
    printf("work:         %.1f MFLOP a chip (direct convolution)\n",
           (double)info->flops_per_chip / 1e6);
}

int cmd_encoder(int argc, char **argv)
{
    const struct command command = {
        .usage = "encoder info [FILE]",
        .summary = "Checks a safetensors file of ResNet weights and describes it (without FILE: "
                   "the built-in encoder).",
        .min_operands = 1,
        .max_operands = 2,
    };
    const char *operands[2] = {NULL};
    enum command_action action = command_parse(&command, argc, argv, operands);
    if (action != COMMAND_RUN)
        return action == COMMAND_EXIT_OK ? 0 : 2;
    if (strcmp(operands[0], "info") != 0) {
        fprintf(stderr, "chipshot: encoder %.100s: usage: chipshot %s\n", operands[0],
                command.usage);
        return 2;
    }
    struct error err = {0};
    struct encoder *encoder = NULL;
    if (session_load_encoder(operands[1], &encoder, &err) < 0)
        return command_fail(&err);
    print_info(encoder_info(encoder));
    encoder_destroy(encoder);
    return command_end_output();
}
