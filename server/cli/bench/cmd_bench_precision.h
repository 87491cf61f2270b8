/* The benchmark `bench precision`: cmd_bench.c calls it. */
#ifndef CHIPSHOT_SERVER_CMD_BENCH_PRECISION_H
#define CHIPSHOT_SERVER_CMD_BENCH_PRECISION_H

/* Returns the exit status; argv as cmd_bench's. */
int cmd_bench_precision(int argc, char **argv);

#endif
