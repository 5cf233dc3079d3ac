/* The loop that all kernels are made of, plain and with a clock chain beside it.
 *
 * A file of kernels defines these and includes this once for each kernel:
 *
 *   NAME         the function
 *   VECTOR       type of a register of operands; ACCUMULATOR, type of a register of results
 *   OPERAND(x)   the operand x in every lane
 *   START(x)     the whole number x in every lane of an accumulator
 *   STEP(a,m,c)  the accumulator a after one step
 *   STORE(p,a)   writes a to the aligned address p
 * and these once:
 *   REPEAT       one of repeat.h: how many accumulators, enough for latency times pipes of any known core
 *   ACCUMULATOR_BYTES   only where sizeof does not know them
 *   TARGET       attribute that lets the compiler use the instruction set in this function alone
 *   LINK, LINKS  one of chain.h, and how many links of it a step lasts at 2 pipes and a little more; none: no clock
 */
#if !defined(ACCUMULATOR_BYTES)
#define ACCUMULATOR_BYTES sizeof(ACCUMULATOR)
#endif
#define PASTE(name, suffix) name##suffix
#define NAMED(name, suffix) PASTE(name, suffix)
#define DECLARE(i) ACCUMULATOR a##i = START(i);
#define FIRST(i) a##i = STEP(a##i, m1, c1);
#define SECOND(i) a##i = STEP(a##i, m2, c2);
#define WRITE(i) STORE((char *)lanes_out + ACCUMULATOR_BYTES * (i), a##i);
#define FUNCTION(name, chain)                                                                                         \
    TARGET static void name(int64_t pairs, const int32_t operands[4], void *lanes_out)                                \
    {                                                                                                                 \
        const VECTOR m1 = OPERAND(operands[0]), c1 = OPERAND(operands[1]);                                            \
        const VECTOR m2 = OPERAND(operands[2]), c2 = OPERAND(operands[3]);                                            \
        uint64_t x = 3, step = 7;                                                                                     \
        (void)x, (void)step;                                                                                          \
        REPEAT(DECLARE)                                                                                               \
        for (int64_t pair = 0; pair < pairs; pair++) {                                                                \
            REPEAT(FIRST)                                                                                             \
            chain;                                                                                                    \
            REPEAT(SECOND)                                                                                            \
            chain;                                                                                                    \
        }                                                                                                             \
        REPEAT(WRITE)                                                                                                 \
    }

FUNCTION(NAME, (void)0)
#if defined(LINK)
FUNCTION(NAMED(NAME, _clocked), LINK(LINKS, x, step))
FUNCTION(NAMED(NAME, _clocked_2), LINK(2 * LINKS, x, step))
FUNCTION(NAMED(NAME, _clocked_4), LINK(4 * LINKS, x, step))
#endif

#undef PASTE
#undef NAMED
#undef DECLARE
#undef FIRST
#undef SECOND
#undef WRITE
#undef FUNCTION
#undef NAME
#undef VECTOR
#undef ACCUMULATOR
#undef OPERAND
#undef START
#undef STEP
#undef STORE
