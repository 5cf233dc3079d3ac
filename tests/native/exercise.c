/* Runs everything in the header once and prints what came out, one JSON object a line; the test compares. */
#include "aicalib_native.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

enum { SLICES = 10, PERIODS = 6 };

static const int32_t *operands_of(const aicalib_kernel *kernel)
{
    static const int32_t adding[4] = {121, 122, -120, 119}, scaling[4] = {-1, 1003, -1, 1010};
    static const int32_t bytes[4] = {121, 122, 120, -119};
    if (kernel->form == 1)
        return scaling;
    return strcmp(kernel->precision, "int8") == 0 ? bytes : adding;
}

static aicalib_plan plan_of(int32_t index, const aicalib_kernel *kernel, int32_t variant)
{
    aicalib_plan plan = {.kernel = index, .clock_variant = variant, .slices_per_clock = 2, .until_ns = INT64_MAX};
    plan.pairs = 100 + index;
    plan.clock_pairs = 30 + index;
    memcpy(plan.operands, operands_of(kernel), sizeof plan.operands);
    return plan;
}

static void print(const char *what, const aicalib_kernel *kernel, const aicalib_plan *plan, int64_t least,
                  int64_t greatest, int64_t slices, int status)
{
    printf("{\"what\": \"%s\", \"precision\": \"%s\", \"accumulator\": \"%s\", \"instruction_set\": \"%s\","
           " \"accumulators\": %d, \"lanes\": %d, \"products\": %d, \"form\": %d, \"supported\": %d, \"variant\": %d,"
           " \"operands\": [%d, %d, %d, %d], \"pairs\": %" PRId64 ", \"least\": %" PRId64 ", \"greatest\": %" PRId64
           ", \"slices\": %" PRId64 ", \"status\": %d}\n",
           what, kernel->precision, kernel->accumulator, kernel->instruction_set, kernel->accumulators, kernel->lanes,
           kernel->products, kernel->form, kernel->supported, plan->clock_variant, plan->operands[0], plan->operands[1],
           plan->operands[2], plan->operands[3], plan->pairs, least, greatest, slices, status);
}

static void run(int32_t index, const aicalib_kernel *kernel, int32_t variant)
{
    aicalib_span slices[SLICES], clocks[SLICES];
    aicalib_outcome outcome;
    aicalib_plan plan = plan_of(index, kernel, variant);
    aicalib_control *control = aicalib_control_new();
    const int status = aicalib_run(&plan, control, slices, SLICES, clocks, SLICES, &outcome);
    print("run", kernel, &plan, outcome.least, outcome.greatest, outcome.slices, status);
    if (outcome.clocks > 0) {
        plan.pairs = plan.clock_pairs;
        print("clock", kernel, &plan, outcome.clock_least, outcome.clock_greatest, outcome.clocks, status);
    }
    aicalib_control_free(control);
}

static void load(int32_t index, const aicalib_kernel *kernel)
{
    int64_t periods[PERIODS];
    for (int i = 0; i < PERIODS; i++)
        periods[i] = 1000000 + 100000 * i;
    aicalib_load_outcome outcome;
    aicalib_plan plan = plan_of(index, kernel, 0);
    aicalib_control *control = aicalib_control_new();
    const int status = aicalib_load(&plan, control, 0.5, periods, PERIODS, 0, &outcome);
    print("load", kernel, &plan, outcome.least, outcome.greatest, outcome.slices, status);
    aicalib_control_stop(control);
    aicalib_load(&plan, control, 1.0, periods, PERIODS, 0, &outcome);
    print("stopped", kernel, &plan, outcome.least, outcome.greatest, outcome.slices, outcome.stopped);
    aicalib_control_free(control);
}

/* Whether this thread holds tiles of AMX, which must be saved whenever another takes its turn. */
static int holds_tiles(void)
{
#if defined(__x86_64__)
    uint32_t a, b, c, d;
    if (__get_cpuid_count(0xd, 1, &a, &b, &c, &d) && (a >> 2 & 1u) != 0) { /* XGETBV tells what is in use */
        __asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(1));
        return (a >> 17 & 3u) != 0;
    }
#endif
    return 0;
}

int main(void)
{
    aicalib_processor processor;
    aicalib_processor_describe(&processor);
    printf("{\"what\": \"processor\", \"instruction_sets\": \"%s\", \"withheld\": \"%s\"}\n", processor.instruction_sets,
           processor.withheld);
    aicalib_kernel kernel;
    for (int32_t index = 0; aicalib_kernel_describe(index, &kernel) == 0; index++) {
        for (int32_t variant = 0; variant < kernel.variants; variant++)
            run(index, &kernel, variant);
        load(index, &kernel);
        printf("{\"what\": \"left\", \"kernel\": \"%s\", \"holds_tiles\": %d}\n", kernel.instruction_set,
               holds_tiles());
    }
    for (int32_t kind = 0; kind < 2; kind++) {
        aicalib_span spans[4];
        const int32_t cycles = aicalib_time_chains(kind, 10000, spans, 4);
        printf("{\"what\": \"chain\", \"kind\": %d, \"cycles\": %d}\n", kind, cycles);
    }
    return aicalib_kernel_count() > 0 && aicalib_now_ns() > 0 ? 0 : 1;
}
