/* The least that an HTTP server on libmicrohttpd can do: every GET is answered with the same JSON,
 * with the library set up as in server/http/http.c (a thread a connection). What chipshot's own
 * work on a request costs shows beside it. Prints "listening on http://127.0.0.1:PORT" and serves
 * until its standard input ends. An argument N: meanwhile N threads compute, with the policy
 * SCHED_IDLE, to show what the scheduler makes of a server beside such threads. */
#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* About as long as a job. */
static const char answer[] =
    "{\"id\":\"job_00000000000000000000000000\",\"project_id\":\"prj_00000000000000000000000000\","
    "\"support_set\":{\"id\":\"sup_00000000000000000000000000\",\"version\":1},"
    "\"encoder_id\":\"enc_00000000000000000000000000\",\"state\":\"running\",\"priority\":0,"
    "\"progress\":{\"n_chips_done\":0,\"n_chips_total\":1024,\"eta_seconds\":null},"
    "\"image_ids\":[\"img_00000000000000000000000000\"],\"params\":{\"chip\":{\"height\":32,"
    "\"width\":32},\"clahe\":null,\"classifier\":{\"distance\":\"euclidean\",\"temperature\":"
    "\"auto\",\"transform\":\"standardise\"},\"edge\":\"drop\",\"input_sizes\":[64]}}\n";

static enum MHD_Result on_request(void *closure, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload_data,
                                  size_t *upload_data_size, void **context)
{
    (void)closure;
    (void)url;
    (void)method;
    (void)version;
    (void)upload_data;
    (void)upload_data_size;
    /* An answer in the first call, before the body could come, would close the connection. */
    static char seen;
    if (*context == NULL) {
        *context = &seen;
        return MHD_YES;
    }
    struct MHD_Response *response = MHD_create_response_from_buffer(
        sizeof(answer) - 1, (void *)(uintptr_t)answer, MHD_RESPMEM_PERSISTENT);
    if (response == NULL)
        return MHD_NO;
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
    enum MHD_Result result = MHD_queue_response(connection, MHD_HTTP_OK, response);
    MHD_destroy_response(response);
    return result;
}

static void *spin(void *argument)
{
    const struct sched_param parameters = {.sched_priority = 0};
    (void)argument;
    pthread_setschedparam(pthread_self(), SCHED_IDLE, &parameters);
    for (volatile uint64_t n = 0;; n++)
        continue;
    return NULL;
}

int main(int argc, char **argv)
{
    const long n_spinning = argc > 1 ? strtol(argv[1], NULL, 10) : 0;
    for (long i = 0; i < n_spinning; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, spin, NULL) != 0) {
            fprintf(stderr, "http_baseline: cannot start a thread\n");
            return 1;
        }
    }
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct MHD_Daemon *daemon = MHD_start_daemon(
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL |
            MHD_USE_ITC | MHD_USE_ERROR_LOG,
        0, NULL, NULL, on_request, NULL, MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&address,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)128 * 1024, MHD_OPTION_END);
    const union MHD_DaemonInfo *info =
        daemon != NULL ? MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT) : NULL;
    if (info == NULL) {
        fprintf(stderr, "http_baseline: the HTTP library cannot start\n");
        return 1;
    }
    printf("listening on http://127.0.0.1:%u\n", (unsigned int)info->port);
    fflush(stdout);
    char byte;
    while (read(STDIN_FILENO, &byte, 1) > 0)
        continue;
    MHD_stop_daemon(daemon);
    return 0;
}
