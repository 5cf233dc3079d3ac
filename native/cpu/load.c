/* A steady part load: work and sleep in turn, steered by the processor time that the thread really had. */
#include "catalogue.h"
#include "clock.h"
#include "control.h"
#include "slice.h"

#include <stddef.h>

static void sleep_until(int64_t wake_ns)
{
    const int64_t left = wake_ns - now_ns();
    if (left > 0) {
        const struct timespec pause = {.tv_sec = (time_t)(left / 1000000000), .tv_nsec = (long)(left % 1000000000)};
        nanosleep(&pause, NULL);
    }
}

static int64_t limited(int64_t debt_ns, int64_t period_ns)
{
    return debt_ns > period_ns ? period_ns : debt_ns < -period_ns ? -period_ns : debt_ns;
}

int aicalib_load(const aicalib_plan *plan, aicalib_control *control, double fraction, const int64_t *periods_ns,
                 int32_t count, int64_t debt_ns, aicalib_load_outcome *outcome)
{
    const aicalib_kernel_entry *kernel = aicalib_plan_kernel(plan);
    *outcome = (aicalib_load_outcome){.least = INT64_MAX, .greatest = INT64_MIN};
    if (kernel == NULL || !(fraction >= 0.0 && fraction <= 1.0))
        return -1;
    aicalib_results results;
    aicalib_no_results(&results);
    const int64_t first_ns = now_ns(), busy_before_ns = thread_processor_ns();
    int64_t begin_ns = first_ns, busy_ns = busy_before_ns;
    for (int32_t period = 0; period < count && !outcome->stopped && begin_ns < plan->until_ns; period++) {
        const int64_t end_ns = begin_ns + periods_ns[period];
        const int64_t wanted_ns = (int64_t)(fraction * (double)periods_ns[period]);
        const int64_t busy_until_ns = busy_ns + wanted_ns + debt_ns;
        int64_t spent_ns = thread_processor_ns();
        aicalib_kernel_enter(kernel);
        while (spent_ns < busy_until_ns && now_ns() < end_ns) {
            if (stop_asked(control)) {
                outcome->stopped = 1;
                break;
            }
            aicalib_slice(kernel, AICALIB_PLAIN, plan->pairs, plan->operands, &results);
            outcome->slices++;
            spent_ns = thread_processor_ns();
        }
        aicalib_kernel_leave(kernel);
        count_slice(control);
        if (!outcome->stopped && fraction < 1.0)
            sleep_until(end_ns < plan->until_ns ? end_ns : plan->until_ns);
        const int64_t reached_ns = now_ns();
        spent_ns = thread_processor_ns();
        /* What the period lasted, not what it should have lasted, is the base of what was owed. */
        debt_ns = limited(debt_ns + (int64_t)(fraction * (double)(reached_ns - begin_ns)) - (spent_ns - busy_ns),
                          periods_ns[period]);
        busy_ns = spent_ns;
        begin_ns = reached_ns;
    }
    outcome->least = results.least;
    outcome->greatest = results.greatest;
    outcome->busy_ns = busy_ns - busy_before_ns;
    outcome->wall_ns = begin_ns - first_ns;
    outcome->debt_ns = debt_ns;
    return 0;
}
