#include "control.h"

#include <stdlib.h>

aicalib_control *aicalib_control_new(void)
{
    return calloc(1, sizeof(aicalib_control));
}

void aicalib_control_free(aicalib_control *control)
{
    free(control);
}

void aicalib_control_stop(aicalib_control *control)
{
    atomic_store_explicit(&control->stop, 1, memory_order_relaxed);
}

int64_t aicalib_control_progress(const aicalib_control *control)
{
    return atomic_load_explicit(&control->slices, memory_order_relaxed);
}
