/* chipshot bench job: a subcommand of cmd_bench.c. */
#ifndef CHIPSHOT_SERVER_CMD_BENCH_JOB_H
#define CHIPSHOT_SERVER_CMD_BENCH_JOB_H

/* Returns the exit status. argv[0] is "bench", argv[1] "job". */
int cmd_bench_job(int argc, char **argv);

#endif
