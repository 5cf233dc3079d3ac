/* One slice of work: the kernel runs, its accumulators are read back, each lane is compared with what it began at. */
#ifndef AICALIB_SLICE_H
#define AICALIB_SLICE_H

#include "../include/aicalib_native.h"
#include "kernel.h"

typedef struct {
    int64_t least;
    int64_t greatest;
} aicalib_extent;

/* No slice has been done. */
#define AICALIB_NO_EXTENT ((aicalib_extent){INT64_MAX, INT64_MIN})

/* Returns when it began and ended; `extent` grows to hold every lane's final minus initial value. */
aicalib_span aicalib_slice(const aicalib_kernel_entry *kernel, int32_t variant, const aicalib_plan *plan,
                           aicalib_extent *extent);

/* The kernel of a plan that can be carried out, NULL for any other. */
const aicalib_kernel_entry *aicalib_plan_kernel(const aicalib_plan *plan);

#endif
