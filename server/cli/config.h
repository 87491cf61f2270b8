/* Options of `chipshot serve`. One table in config.c gives the command line, the CHIPSHOT_*
 * environment variables, the range checks and the --help text. */
#ifndef CHIPSHOT_SERVER_CONFIG_H
#define CHIPSHOT_SERVER_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "api/limits.h"
#include "base/error.h"
#include "server/http/http.h"
#include "server/watch/log.h"

enum { CONFIG_PATH_SIZE = 4096 };

struct config {
    struct http_config http;
    char data_directory[CONFIG_PATH_SIZE];
    const char *encoder_file; /* NULL: the built-in one */
    uint32_t n_threads;
    bool background;
    struct api_limits limits;
    uint32_t max_running_jobs;
    uint32_t job_attempts;
    uint32_t job_retry_delay_s;
    uint64_t cache_max_size;
    uint64_t max_maps_size;
    uint64_t scrub_rate;
    uint32_t scrub_interval_s;
    uint64_t min_free_size;
    uint32_t drain_timeout_s;
    enum log_level log_level;
    enum log_format log_format;
};

/* Defaults, then the environment, then argv (argv[0] is the subcommand's name); strings point into
 * argv or the environment. *help: --help was asked for. ERROR_INVALID: names the option, the limit
 * and the value. Not thread-safe (getopt_long). */
int config_parse(struct config *out, int argc, char **argv, bool *help, struct error *err);

void config_print_help(FILE *out);

/* The data directory when none is named: CHIPSHOT_DATA, else $XDG_DATA_HOME/chipshot, else
 * ~/.local/share/chipshot, else /var/lib/chipshot. Written to `buffer`, which is returned. */
const char *config_default_data(char *buffer, size_t size);

#endif
