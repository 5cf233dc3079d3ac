/* The simulated world's own door to the state page: makes nodes, sets what surrounds them, reads what is true.
 *
 * Not a vendor library. Quantities are named, SI, and the truth: nothing here is averaged, quantised or wrong. */
#define _GNU_SOURCE
#include "export.h"
#include "node.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

EXPORT int aicalib_node_create(const char *path, double rate, int64_t origin_ns)
{
    return node_create(path, rate, origin_ns);
}

EXPORT void *aicalib_node_open(const char *path)
{
    return node_open(path);
}

EXPORT unsigned aicalib_node_version(void)
{
    return NODE_VERSION;
}

EXPORT const char *aicalib_node_model(unsigned index)
{
    return node_model_key(index);
}

EXPORT int aicalib_node_add(struct node_page *page, const char *model, const char *serial)
{
    node_lock(page);
    int index = node_add(page, model, serial);
    node_unlock(page);
    return index;
}

/* Nobody can use the node from now on; programs that have it mapped see their devices lost. */
EXPORT void aicalib_node_close(struct node_page *page)
{
    node_lock(page);
    page->closed = 1;
    node_unlock(page);
}

EXPORT double aicalib_node_advance(struct node_page *page, int64_t stepped_ns)
{
    if (page->rate == 0 && stepped_ns > __atomic_load_n(&page->stepped_ns, __ATOMIC_ACQUIRE))
        __atomic_store_n(&page->stepped_ns, stepped_ns, __ATOMIC_RELEASE);
    node_lock(page);
    double now = (double)page->time_ns * 1e-9;
    node_unlock(page);
    return now;
}

/* Where a stepped clock stands, s. */
EXPORT double aicalib_node_stepped(struct node_page *page)
{
    return (double)__atomic_load_n(&page->stepped_ns, __ATOMIC_ACQUIRE) * 1e-9;
}

/* Energy of all devices from the beginning to the `grid`-th hundredth of a second; NaN if that is not yet, or forgotten. */
EXPORT double aicalib_node_energy(struct node_page *page, uint64_t grid)
{
    node_lock(page);
    bool known = grid <= page->grid && page->grid - grid < NODE_HISTORY;
    double energy = known ? page->history[grid % NODE_HISTORY] : NAN;
    node_unlock(page);
    return energy;
}

/* Keep every device, or one, busy to `fraction` of what its matrix units can draw, beside what is launched on it. */
EXPORT void aicalib_node_load(struct node_page *page, int index, double fraction)
{
    node_lock(page);
    for (unsigned i = 0; i < page->devices; i++)
        if (index < 0 || (unsigned)index == i)
            page->device[i].background = fraction;
    node_unlock(page);
}

struct quantity { const char *name; size_t offset; bool writable; };

#define D(field) offsetof(struct node_device, field)
#define M(field) offsetof(struct node_device, model.field)

static const struct quantity QUANTITIES[] = {
    { "clock", D(clock), false }, { "power", D(power), false }, { "energy", D(energy), false },
    { "temperature", D(temperature), true }, { "busy", D(busy), false }, { "load", D(background), true },
    { "power_limit", D(power_limit), true }, { "power_gain", D(power_gain), true }, { "energy_gain", D(energy_gain), true },
    { "clock_maximum", M(clock_max), true }, { "clock_idle", M(clock_idle), true }, { "power_idle", M(power_idle), true },
    { "power_full", M(power_full), true }, { "thermal_resistance", M(thermal_resistance), true },
    { "time_constant", M(time_constant), true }, { "temperature_soft", M(temperature_soft), true },
    { "temperature_hard", M(temperature_hard), true }, { "temperature_shutdown", M(temperature_shutdown), true },
    { "mma_sync", M(mma_sync), true },
};

static double *quantity(struct node_device *device, const char *name, bool write)
{
    for (unsigned i = 0; i < sizeof QUANTITIES / sizeof QUANTITIES[0]; i++)
        if (strcmp(QUANTITIES[i].name, name) == 0 && (!write || QUANTITIES[i].writable))
            return (double *)(void *)((char *)device + QUANTITIES[i].offset);
    return NULL;
}

EXPORT int aicalib_node_get(struct node_page *page, unsigned index, const char *name, double *out)
{
    if (index >= page->devices)
        return -1;
    node_lock(page);
    const double *found = quantity(&page->device[index], name, false);
    if (found != NULL)
        *out = *found;
    node_unlock(page);
    return found != NULL ? 0 : -1;
}

EXPORT int aicalib_node_set(struct node_page *page, unsigned index, const char *name, double value)
{
    if (index >= page->devices)
        return -1;
    node_lock(page);
    double *found = quantity(&page->device[index], name, true);
    if (found != NULL)
        *found = value;
    node_unlock(page);
    return found != NULL ? 0 : -1;
}

EXPORT void aicalib_node_ambient(struct node_page *page, double celsius)
{
    node_lock(page);
    page->ambient = celsius;
    node_unlock(page);
}

EXPORT uint32_t aicalib_node_limits(struct node_page *page, unsigned index)
{
    node_lock(page);
    uint32_t limits = index < page->devices ? page->device[index].limits : 0;
    node_unlock(page);
    return limits;
}

/* Set or clear faults; index -1 = of the node. */
EXPORT void aicalib_node_fault(struct node_page *page, int index, uint32_t set, uint32_t clear)
{
    node_lock(page);
    uint32_t *faults = index < 0 ? &page->faults : (unsigned)index < page->devices ? &page->device[index].faults : NULL;
    if (faults != NULL)
        *faults = (*faults & ~clear) | set;
    node_unlock(page);
}

EXPORT void aicalib_node_ecc(struct node_page *page, unsigned index, uint64_t corrected, uint64_t uncorrected)
{
    node_lock(page);
    if (index < page->devices) {
        page->device[index].ecc_corrected += corrected;
        page->device[index].ecc_uncorrected += uncorrected;
        if (uncorrected != 0)
            page->device[index].faults |= FAULT_ECC_UNCORRECTED;
    }
    node_unlock(page);
}

/* Arithmetic operations that the device has finished in one kind of unit, as the simulator counted them. */
EXPORT double aicalib_node_operations(struct node_page *page, unsigned index, unsigned unit)
{
    node_lock(page);
    double operations = index < page->devices && unit < NODE_UNITS ? page->device[index].operations[unit] : 0;
    node_unlock(page);
    return operations;
}

/* Seconds that the device has been busy since the beginning. */
EXPORT double aicalib_node_busy(struct node_page *page, unsigned index)
{
    node_lock(page);
    double busy = index < page->devices ? page->device[index].busy_seconds : 0;
    node_unlock(page);
    return busy;
}
