/* Independent chains of fused multiply-adds on whole numbers that stay exact.
 *
 * SCALAR float or double, VECTOR the type of one accumulator (float16), LANES its width, WHOLE the integer vector of
 * that width (int16). Accumulator k begins at k; a pair of steps adds a a and then m c, which nearly cancel, so that
 * the final value counts the steps. Each work-item adds the sum over all its lanes to its own place in `out`, modulo
 * 2^32, so that every launch is checked. One pair is 2 steps x 16 accumulators x LANES x 2 operations.
 */
#ifdef FP64
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
#endif

#define JOIN(a, b) a##b
#define CONVERT(type) JOIN(convert_, type)
#define EACH(f) f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7) f(8) f(9) f(10) f(11) f(12) f(13) f(14) f(15)

#define BEGIN(k) VECTOR a##k = (VECTOR)((SCALAR)k);
#define FIRST(k) a##k = fma(a, a, a##k);
#define SECOND(k) a##k = fma(m, c, a##k);
#define COLLECT(k) whole += CONVERT(WHOLE)(a##k);

__kernel void multiply_add(__global uint *out, int pairs, SCALAR first, SCALAR second_m, SCALAR second_c)
{
    const VECTOR a = (VECTOR)(first), m = (VECTOR)(second_m), c = (VECTOR)(second_c);
    EACH(BEGIN)
    /* Where a work-item is a lane, the loop's own instructions would take one issue in ten from the multiply-adds. */
#if LANES == 1
#pragma unroll 16
#endif
    for (int pair = 0; pair < pairs; ++pair) {
        EACH(FIRST)
        EACH(SECOND)
    }
    WHOLE whole = (WHOLE)(0);
    EACH(COLLECT)
    uint sum = 0;
#if LANES == 1
    sum = (uint)whole;
#else
    union { WHOLE vector; int lanes[LANES]; } split;
    split.vector = whole;
    for (int lane = 0; lane < LANES; ++lane)
        sum += (uint)split.lanes[lane];
#endif
    out[get_global_id(0)] += sum;
}
