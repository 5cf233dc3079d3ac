/* The chains alone, without work beside them: to check the one against the other. */
#include "../include/aicalib_native.h"
#include "chain.h"
#include "clock.h"

enum { ADDITION, MULTIPLICATION, LINKS_A_TURN = 50 };

static aicalib_span timed_additions(int64_t turns)
{
    uint64_t x = 3, step = 7;
    aicalib_span span;
    span.start_ns = now_ns();
    for (int64_t turn = 0; turn < turns; turn++)
        AICALIB_ADDITIONS(LINKS_A_TURN, x, step);
    span.stop_ns = now_ns();
    (void)x, (void)step;
    return span;
}

static aicalib_span timed_multiplications(int64_t turns)
{
    uint64_t x = 3, step = 7;
    aicalib_span span;
    span.start_ns = now_ns();
    for (int64_t turn = 0; turn < turns; turn++)
        AICALIB_MULTIPLICATIONS(LINKS_A_TURN, x, step);
    span.stop_ns = now_ns();
    (void)x, (void)step;
    return span;
}

int32_t aicalib_time_chains(int32_t kind, int64_t links, aicalib_span *spans, int32_t count)
{
    const int32_t cycles = kind == ADDITION         ? AICALIB_ADDITION_CYCLES
                           : kind == MULTIPLICATION ? AICALIB_MULTIPLICATION_CYCLES
                                                    : 0;
    for (int32_t i = 0; cycles > 0 && i < count; i++)
        spans[i] = kind == ADDITION ? timed_additions(links / LINKS_A_TURN) : timed_multiplications(links / LINKS_A_TURN);
    return cycles;
}
