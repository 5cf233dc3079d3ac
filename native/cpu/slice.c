#include "slice.h"

#include "catalogue.h"
#include "clock.h"

#include <stddef.h>
#include <string.h>

enum { UNTOUCHED = 0x7f };

/* A number as a whole one, INT64_MIN where it is none: a fault must not vanish in a conversion. */
static int64_t whole(double number)
{
    if (!(number > -9.0e15 && number < 9.0e15))
        return INT64_MIN;
    const int64_t rounded = (int64_t)number;
    return (double)rounded == number ? rounded : INT64_MIN;
}

static int64_t lane_value(aicalib_element element, const void *lanes, int32_t lane)
{
    switch (element) {
    case AICALIB_FP64:
        return whole(((const double *)lanes)[lane]);
    case AICALIB_FP32:
        return whole(((const float *)lanes)[lane]);
    default:
        return ((const int32_t *)lanes)[lane];
    }
}

static size_t bytes_of(const aicalib_kernel_entry *kernel)
{
    const size_t number = kernel->element == AICALIB_FP64 ? sizeof(double) : sizeof(float);
    return (size_t)kernel->accumulators * (size_t)aicalib_kernel_lanes(kernel) * number;
}

static void look_through(aicalib_results *results, const aicalib_kernel_entry *kernel, const void *lanes)
{
    const int32_t width = aicalib_kernel_lanes(kernel);
    for (int32_t accumulator = 0; accumulator < kernel->accumulators; accumulator++) {
        for (int32_t lane = 0; lane < width; lane++) {
            const int64_t value = lane_value(kernel->element, lanes, accumulator * width + lane);
            const int64_t gained = value == INT64_MIN ? INT64_MIN : value - accumulator;
            if (gained < results->least)
                results->least = gained;
            if (gained > results->greatest)
                results->greatest = gained;
        }
    }
    memcpy(results->lanes, lanes, bytes_of(kernel));
    results->looked_through = 1;
}

void aicalib_no_results(aicalib_results *results)
{
    results->least = INT64_MAX;
    results->greatest = INT64_MIN;
    results->looked_through = 0;
}

void aicalib_warm(const aicalib_kernel_entry *kernel, int32_t variant, const int32_t operands[4])
{
    _Alignas(64) unsigned char lanes[AICALIB_MOST_BYTES];
    kernel->run[variant](1, operands, lanes);
}

aicalib_span aicalib_slice(const aicalib_kernel_entry *kernel, int32_t variant, int64_t pairs,
                           const int32_t operands[4], aicalib_results *results)
{
    _Alignas(64) unsigned char lanes[AICALIB_MOST_BYTES];
    memset(lanes, UNTOUCHED, bytes_of(kernel));
    aicalib_span span;
    span.start_ns = now_ns();
    kernel->run[variant](pairs, operands, lanes);
    span.stop_ns = now_ns();
    if (!results->looked_through || memcmp(lanes, results->lanes, bytes_of(kernel)) != 0)
        look_through(results, kernel, lanes);
    return span;
}

const aicalib_kernel_entry *aicalib_plan_kernel(const aicalib_plan *plan)
{
    const aicalib_kernel_entry *kernel = aicalib_kernel_at(plan->kernel);
    const int32_t variant = plan->clock_variant;
    const int sound = kernel != NULL && aicalib_kernel_supported(kernel) && plan->pairs > 0 && variant >= 0 &&
                      variant < AICALIB_VARIANTS && kernel->run[variant] != NULL && plan->clock_pairs >= 0 &&
                      bytes_of(kernel) <= AICALIB_MOST_BYTES;
    return sound ? kernel : NULL;
}
