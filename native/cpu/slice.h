/* One slice of work: the kernel runs, its accumulators are read back, each lane is compared with what it began at. */
#ifndef AICALIB_SLICE_H
#define AICALIB_SLICE_H

#include "../include/aicalib_native.h"
#include "kernel.h"

/* What the lanes of all slices gained, at least and at most; and the lanes of the last slice that was looked through:
 * one that is equal to it, byte for byte, need not be. */
typedef struct {
    int64_t least;
    int64_t greatest;
    int looked_through;
    unsigned char lanes[AICALIB_MOST_BYTES];
} aicalib_results;

/* Before the first slice. */
void aicalib_no_results(aicalib_results *results);

/* Before a slice of a variant that has not run for milliseconds: fetching its code took 0.4 us of one of 50 us. */
void aicalib_warm(const aicalib_kernel_entry *kernel, int32_t variant, const int32_t operands[4]);

/* Returns when the slice began and ended; `results` grows to hold what it computed. */
aicalib_span aicalib_slice(const aicalib_kernel_entry *kernel, int32_t variant, int64_t pairs,
                           const int32_t operands[4], aicalib_results *results);

/* The kernel of a plan that can be carried out, NULL for any other. */
const aicalib_kernel_entry *aicalib_plan_kernel(const aicalib_plan *plan);

#endif
