/* Plain C for any processor: what its compiler makes of independent multiply-adds, a lower bound of what it can do.
 *
 * Without a fused instruction a compiler may compute m * c once, before the loop. So the accumulator itself is
 * multiplied here (form 1): with m = -1, which the compiler cannot know, it stays exact and bounded. */
#include "kernel.h"
#include "repeat.h"

#define TARGET
#define REPEAT AICALIB_REPEAT_24

#define NAME fp64
#define VECTOR double
#define ACCUMULATOR double
#define OPERAND(x) (double)(x)
#define START(x) (double)(x)
#define STEP(a, m, c) ((a) * (m) + (c))
#define STORE(p, a) (*(double *)(void *)(p) = (a))
#include "body.h"

#define NAME fp32
#define VECTOR float
#define ACCUMULATOR float
#define OPERAND(x) (float)(x)
#define START(x) (float)(x)
#define STEP(a, m, c) ((a) * (m) + (c))
#define STORE(p, a) (*(float *)(void *)(p) = (a))
#include "body.h"

const aicalib_kernel_entry aicalib_kernels_portable[] = {
    {"fp64", "fp64", "portable", {fp64}, 0, AICALIB_FP64, 0, 24, 1, 1, 1},
    {"fp32", "fp32", "portable", {fp32}, 0, AICALIB_FP32, 0, 24, 1, 1, 1},
    {0},
};
