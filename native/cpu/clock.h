/* The clocks of this process, in nanoseconds. */
#ifndef AICALIB_CLOCK_H
#define AICALIB_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline int64_t nanoseconds_of(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* The clock behind Python's time.monotonic_ns(). */
static inline int64_t now_ns(void)
{
#if defined(__APPLE__)
    return (int64_t)clock_gettime_nsec_np(CLOCK_UPTIME_RAW);
#else
    return nanoseconds_of(CLOCK_MONOTONIC);
#endif
}

static inline int64_t thread_processor_ns(void)
{
    return nanoseconds_of(CLOCK_THREAD_CPUTIME_ID);
}

#endif
