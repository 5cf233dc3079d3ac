/* Slices back to back, one with the clock chain after every few of them. */
#include "clock.h"
#include "control.h"
#include "slice.h"

#include <stddef.h>

int64_t aicalib_now_ns(void)
{
    return now_ns();
}

static void wait_until(int64_t begin_ns, const aicalib_control *control)
{
    while (now_ns() < begin_ns && !stop_asked(control))
        ;
}

int aicalib_run(const aicalib_plan *plan, aicalib_control *control, aicalib_span *slices, int32_t slice_capacity,
                aicalib_span *clocks, int32_t clock_capacity, aicalib_outcome *outcome)
{
    const aicalib_kernel_entry *kernel = aicalib_plan_kernel(plan);
    *outcome = (aicalib_outcome){.least = INT64_MAX, .greatest = INT64_MIN};
    if (kernel == NULL)
        return -1;
    aicalib_results results;
    aicalib_no_results(&results);
    wait_until(plan->not_before_ns, control);
    while (outcome->slices < slice_capacity && now_ns() < plan->until_ns) {
        if (stop_asked(control)) {
            outcome->stopped = 1;
            break;
        }
        slices[outcome->slices++] = aicalib_slice(kernel, AICALIB_PLAIN, plan, &results);
        count_slice(control);
        const int clock_due = plan->slices_per_clock > 0 && outcome->slices % plan->slices_per_clock == 0;
        if (clock_due && plan->clock_variant > 0 && outcome->clocks < clock_capacity)
            clocks[outcome->clocks++] = aicalib_slice(kernel, plan->clock_variant, plan, &results);
    }
    outcome->least = results.least;
    outcome->greatest = results.greatest;
    return 0;
}
