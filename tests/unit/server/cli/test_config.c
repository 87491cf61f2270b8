#include "tests/test.h"

#include <stdbool.h>

#include "server/cli/config.h"

enum { MAX_ARGUMENTS = 8 };

static int parse(struct config *config, struct error *err, const char *const *arguments)
{
    char *argv[MAX_ARGUMENTS + 2] = {(char *)(uintptr_t) "serve"};
    int argc = 1;
    for (; arguments[argc - 1] != NULL; argc++)
        argv[argc] = (char *)(uintptr_t)arguments[argc - 1];
    bool help = false;
    return config_parse(config, argc, argv, &help, err);
}

static int clear_environment(void **state)
{
    (void)state;
    clearenv();
    return 0;
}

static void defaults_are_those_of_the_api(void **state)
{
    (void)state;
    struct config config;
    setenv("HOME", "/home/someone", 1);
    assert_int_equal(parse(&config, NULL, (const char *const[]){NULL}), 0);
    assert_string_equal(config.http.listen, "127.0.0.1:8080");
    assert_string_equal(config.data_directory, "/home/someone/.local/share/chipshot");
    assert_memory_equal(&config.limits.image, &api_limits_default.image,
                        sizeof(config.limits.image));
    assert_int_equal(config.limits.max_json_size, api_limits_default.max_json_size);
    assert_int_equal(config.limits.max_upload_size, api_limits_default.max_upload_size);
    assert_int_equal(config.limits.max_encoder_size, api_limits_default.max_encoder_size);
    assert_int_equal(config.limits.max_queued_jobs, api_limits_default.max_queued_jobs);
    assert_int_equal(config.limits.max_images_per_job, api_limits_default.max_images_per_job);
    assert_int_equal(config.limits.max_chips_per_image, api_limits_default.max_chips_per_image);
    assert_int_equal(config.limits.max_wait_s, api_limits_default.max_wait_s);
    assert_int_equal(config.cache_max_size, UINT64_C(2) << 30);
    assert_int_equal(config.http.max_connections, 512);
    assert_int_equal(config.http.max_connections_per_client, 256);
    assert_int_equal(config.http.header_timeout_s, 10);
    assert_int_equal(config.max_running_jobs, 8);
    assert_int_equal(config.job_attempts, 5);
    assert_int_equal(config.job_retry_delay_s, 2);
    assert_int_equal(config.drain_timeout_s, 30);
    assert_true(config.n_threads >= 1);
    assert_false(config.http.no_auth);
    assert_false(config.http.require_key);
    assert_false(config.background);
    assert_null(config.encoder_file);
    assert_int_equal(config.log_level, LOG_LEVEL_INFO);
}

static void the_command_line_wins_over_the_environment(void **state)
{
    (void)state;
    struct config config;
    setenv("CHIPSHOT_THREADS", "3", 1);
    setenv("CHIPSHOT_DATA", "/data", 1);
    setenv("CHIPSHOT_NO_AUTH", "1", 1);
    setenv("CHIPSHOT_LOG_LEVEL", "", 1); /* empty: not set */
    setenv("CHIPSHOT_MAX_UPLOAD_SIZE", "10K", 1);
    const char *const arguments[] = {"--threads",    "5",    "--max-upload-size=20M",
                                     "--log-format", "json", NULL};
    assert_int_equal(parse(&config, NULL, arguments), 0);
    assert_int_equal(config.n_threads, 5);
    assert_string_equal(config.data_directory, "/data");
    assert_true(config.http.no_auth);
    assert_int_equal(config.limits.max_upload_size, 20 << 20);
    assert_int_equal(config.log_format, LOG_FORMAT_JSON);
    assert_int_equal(config.log_level, LOG_LEVEL_INFO);
}

static void mistakes_name_option_limit_and_value(void **state)
{
    (void)state;
    static const struct {
        const char *arguments[3];
        const char *parts[3];
    } trials[] = {
        {{"--threads", "0"}, {"--threads", "'0'", "1 to 256"}},
        {{"--threads", "257"}, {"--threads", "'257'", "256"}},
        {{"--threads", "4K"}, {"--threads", "'4K'"}},
        {{"--threads", "-1"}, {"--threads", "'-1'"}},
        {{"--threads", ""}, {"--threads", "''"}},
        {{"--threads", "4 "}, {"--threads", "'4 '"}},
        {{"--max-json-size", "1X"}, {"--max-json-size", "'1X'"}},
        {{"--max-json-size", "99999999999G"}, {"--max-json-size", "'99999999999G'"}},
        {{"--max-pixels", "99999999999999999999999"}, {"--max-pixels"}},
        {{"--cache-size", "K"}, {"--cache-size", "'K'"}},
        {{"--log-level", "loud"}, {"--log-level", "'loud'", "debug, info, warn or error"}},
        {{"--log-format", "xml"}, {"--log-format", "'xml'", "logfmt or json"}},
        {{"--nonsense"}, {"--nonsense", "unknown"}},
        {{"-x"}, {"-x", "unknown"}},
        {{"--threads"}, {"--threads", "needs a value"}},
        {{"--no-auth=1"}, {"--no-auth"}},
        {{"--no-auth", "--require-key"}, {"--no-auth", "--require-key"}},
        {{"stray"}, {"stray"}},
        {{"--data", ""}, {"--data", "path"}},
    };
    for (size_t i = 0; i < sizeof(trials) / sizeof(trials[0]); i++) {
        struct config config;
        struct error err = {0};
        if (parse(&config, &err, trials[i].arguments) != ERROR_INVALID)
            fail_msg("taken: %s %s", trials[i].arguments[0], trials[i].arguments[1]);
        for (size_t p = 0; p < 3 && trials[i].parts[p] != NULL; p++) {
            if (strstr(err.message, trials[i].parts[p]) == NULL)
                fail_msg("'%s' is not in: %s", trials[i].parts[p], err.message);
        }
    }
}

static void the_environment_is_checked_too(void **state)
{
    (void)state;
    struct config config;
    struct error err = {0};
    setenv("CHIPSHOT_IDLE_TIMEOUT", "soon", 1);
    assert_int_equal(parse(&config, &err, (const char *const[]){NULL}), ERROR_INVALID);
    assert_non_null(strstr(err.message, "CHIPSHOT_IDLE_TIMEOUT: 'soon'"));
}

static void the_data_directory_has_a_place(void **state)
{
    (void)state;
    char buffer[64];
    assert_string_equal(config_default_data(buffer, sizeof(buffer)), "/var/lib/chipshot");
    setenv("HOME", "/h", 1);
    assert_string_equal(config_default_data(buffer, sizeof(buffer)), "/h/.local/share/chipshot");
    setenv("XDG_DATA_HOME", "/x", 1);
    assert_string_equal(config_default_data(buffer, sizeof(buffer)), "/x/chipshot");
    setenv("CHIPSHOT_DATA", "/d", 1);
    assert_string_equal(config_default_data(buffer, sizeof(buffer)), "/d");
}

static void help_lists_every_option(void **state)
{
    (void)state;
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    config_print_help(out);
    fclose(out);
    static const char *const parts[] = {"--listen ADDR:PORT", "CHIPSHOT_LISTEN", "--no-auth",
                                        "(default 2G)",       "--drain-timeout", "--help"};
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        assert_non_null(strstr(text, parts[i]));
    free(text);
    struct config config;
    bool help = false;
    char *argv[] = {(char *)(uintptr_t) "serve", (char *)(uintptr_t) "--help", NULL};
    assert_int_equal(config_parse(&config, 2, argv, &help, NULL), 0);
    assert_true(help);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(defaults_are_those_of_the_api, clear_environment),
        cmocka_unit_test_setup(the_command_line_wins_over_the_environment, clear_environment),
        cmocka_unit_test_setup(mistakes_name_option_limit_and_value, clear_environment),
        cmocka_unit_test_setup(the_environment_is_checked_too, clear_environment),
        cmocka_unit_test_setup(the_data_directory_has_a_place, clear_environment),
        cmocka_unit_test_setup(help_lists_every_option, clear_environment),
    };
    return test_run(tests);
}
