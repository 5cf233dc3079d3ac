/* The one C interface that Python sees: kernels that keep the arithmetic units of a core busy, timed in short slices.
 *
 * A call runs on the thread that makes it and on the core that thread is pinned to; there are no threads in here. Every
 * stamp is in nanoseconds of the clock that Python's time.monotonic_ns() reads. What stands between the two marks is
 * also the cdef that the extension is built from, so it holds plain declarations only.
 */
#ifndef AICALIB_NATIVE_H
#define AICALIB_NATIVE_H

#include <stdint.h>

/* cffi: begin */

/* One kernel. An accumulator is one register, a vector or a tile, of `lanes` numbers; one step of the kernel adds
 * `products` products to every lane of every accumulator, which is 2 * accumulators * lanes * products operations.
 * form 0: lane += products * m * c.   form 1: lane = m * lane + c (products is 1). */
typedef struct {
    const char *precision;       /* "fp64", "fp32", "bf16", "int8" */
    const char *accumulator;     /* "fp64", "fp32", "int32" */
    const char *instruction_set; /* "avx512", "neon", "portable", ... */
    const char *path;            /* "vector", or "matrix" for a unit that multiplies matrices */
    int32_t accumulators;
    int32_t lanes;
    int32_t products;
    int32_t form;
    int32_t chain_cycles;        /* cycles a pair of steps that the chain of variant 1 lasts; 0 = no chain */
    int32_t variants;            /* the chain of variant v is 2^(v-1) times as long; variant 0 has none */
    int32_t supported;           /* 1 if this processor, under this operating system, can run it */
} aicalib_kernel;

typedef struct {
    int64_t start_ns;
    int64_t stop_ns;
} aicalib_span;

/* What aicalib_run does: slices of `pairs` pairs of steps, the first of a pair with operands[0] and [1] as m and c, the
 * second with operands[2] and [3]; lane l of accumulator a begins each slice at the value a. After every
 * `slices_per_clock` slices (0 = never) follows a clock slice of `clock_pairs` pairs in `clock_variant`, which has a chain
 * of dependent register instructions among the work: where the chain is the longer of the two, its length over the time
 * is the clock. */
typedef struct {
    int32_t kernel;
    int32_t clock_variant;
    int32_t slices_per_clock;
    int32_t operands[4];
    int64_t pairs;
    int64_t clock_pairs;
    int64_t not_before_ns;
    int64_t until_ns;
} aicalib_plan;

/* least, greatest: over all lanes of all accumulators of all slices, final value minus initial value, and the same of the
 * clock slices. INT64_MIN stands for a lane that holds no whole number. Without a slice, least > greatest. */
typedef struct {
    int64_t least;
    int64_t greatest;
    int64_t clock_least;
    int64_t clock_greatest;
    int32_t slices;
    int32_t clocks;
    int32_t stopped;
} aicalib_outcome;

/* busy_ns: processor time of this thread, wall_ns: time from first to last period; debt_ns goes into the next call. */
typedef struct {
    int64_t least;
    int64_t greatest;
    int64_t slices;
    int64_t busy_ns;
    int64_t wall_ns;
    int64_t debt_ns;
    int32_t stopped;
} aicalib_load_outcome;

typedef struct {
    char vendor[16];
    char brand[64];
    int32_t family;
    int32_t model;
    int32_t stepping;
    int32_t hypervisor;
    int32_t base_mhz;
    int32_t maximum_mhz;
    char instruction_sets[256]; /* separated by spaces */
    char withheld[64];          /* those that it has and the operating system does not let this process use */
} aicalib_processor;

typedef struct aicalib_control aicalib_control;

/* Shared between the thread that computes and those that watch or stop it. */
aicalib_control *aicalib_control_new(void);
void aicalib_control_free(aicalib_control *control);
void aicalib_control_stop(aicalib_control *control);
int64_t aicalib_control_progress(const aicalib_control *control); /* slices done since it was made */

int64_t aicalib_now_ns(void);
int32_t aicalib_kernel_count(void);
int aicalib_kernel_describe(int32_t index, aicalib_kernel *kernel);  /* 0, or -1 for no such kernel */
void aicalib_processor_describe(aicalib_processor *processor);       /* empty where the processor cannot be asked */

/* Run slices until one of: until_ns, the capacity of either array, a stop. Returns 0, or -1 for a plan that cannot be
 * carried out. A slice whose end would lie after until_ns is not begun once that time has come. */
int aicalib_run(const aicalib_plan *plan, aicalib_control *control, aicalib_span *slices, int32_t slice_capacity,
                aicalib_span *clocks, int32_t clock_capacity, aicalib_outcome *outcome);

/* Keep this core busy for `fraction` of each of `count` periods and asleep for the rest. The time that a period gave too
 * much or too little is made good in the next. The plan's pairs are the grain of the work; its clock is not used. */
int aicalib_load(const aicalib_plan *plan, aicalib_control *control, double fraction, const int64_t *periods_ns,
                 int32_t count, int64_t debt_ns, aicalib_load_outcome *outcome);

/* Time `count` chains of `links` dependent register additions (kind 0) or multiplications (kind 1). Returns the cycles
 * that one link takes, or 0 where this architecture has no chain here. */
int32_t aicalib_time_chains(int32_t kind, int64_t links, aicalib_span *spans, int32_t count);

/* cffi: end */

#endif
