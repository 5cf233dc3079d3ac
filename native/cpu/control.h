/* What the computing thread shares with those that watch or stop it. */
#ifndef AICALIB_CONTROL_H
#define AICALIB_CONTROL_H

#include "../include/aicalib_native.h"

#include <stdatomic.h>

struct aicalib_control {
    atomic_int stop;
    _Atomic int64_t slices;
};

static inline int stop_asked(const aicalib_control *control)
{
    return atomic_load_explicit(&control->stop, memory_order_relaxed);
}

static inline void count_slice(aicalib_control *control)
{
    atomic_fetch_add_explicit(&control->slices, 1, memory_order_relaxed);
}

#endif
