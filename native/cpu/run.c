/* Slices back to back, one with the clock chain after every few of them. */
#include "catalogue.h"
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
    aicalib_results results, clock_results;
    aicalib_no_results(&results);
    aicalib_no_results(&clock_results);
    *outcome = (aicalib_outcome){.slices = 0};
    if (kernel != NULL) {
        wait_until(plan->not_before_ns, control);
        aicalib_kernel_enter(kernel);
    }
    while (kernel != NULL && outcome->slices < slice_capacity && now_ns() < plan->until_ns) {
        if (stop_asked(control)) {
            outcome->stopped = 1;
            break;
        }
        slices[outcome->slices++] = aicalib_slice(kernel, AICALIB_PLAIN, plan->pairs, plan->operands, &results);
        count_slice(control);
        const int due = plan->slices_per_clock > 0 && outcome->slices % plan->slices_per_clock == 0;
        if (due && plan->clock_variant > 0 && plan->clock_pairs > 0 && outcome->clocks < clock_capacity) {
            aicalib_warm(kernel, plan->clock_variant, plan->operands);
            clocks[outcome->clocks++] =
                aicalib_slice(kernel, plan->clock_variant, plan->clock_pairs, plan->operands, &clock_results);
        }
    }
    if (kernel != NULL)
        aicalib_kernel_leave(kernel);
    outcome->least = results.least;
    outcome->greatest = results.greatest;
    outcome->clock_least = clock_results.least;
    outcome->clock_greatest = clock_results.greatest;
    return kernel != NULL ? 0 : -1;
}
