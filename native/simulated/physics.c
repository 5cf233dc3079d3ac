/* What happens in the node while time passes: work proceeds, clocks follow their governors, heat and energy follow. */
#define _GNU_SOURCE
#include "node.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <string.h>

#define LEAKAGE_PER_KELVIN 0.0006  /* of all power, above 40 degC (assumed) */
#define ACTIVITY_SECONDS 0.03      /* what the power governor sees is a mean over so long */
#define RAMP_SECONDS 0.02          /* from the idle to the highest clock */
#define IDLE_AFTER_NS 200000000LL  /* clocks fall so long after the last work */
#define LONG_IDLE_NS 3600000000000LL

static double leakage(const struct node_device *d)
{
    return 1 + LEAKAGE_PER_KELVIN * (d->temperature - 40);
}

double node_power(const struct node_device *d, double activity, double clock)
{
    const struct node_model *m = &d->model;
    double dynamic = (m->power_full - m->power_idle) * activity * pow(clock / m->clock_max, m->exponent);
    return (m->power_idle + dynamic) * leakage(d);
}

/* The highest clock at which this activity stays below the cap. */
static double capped_clock(const struct node_device *d, double activity)
{
    const struct node_model *m = &d->model;
    double left = d->power_limit / leakage(d) - m->power_idle;
    if (activity <= 0)
        return m->clock_max;
    if (left <= 0)
        return m->clock_idle;
    return m->clock_max * pow(left / (activity * (m->power_full - m->power_idle)), 1 / m->exponent);
}

static double quantised(const struct node_device *d, double clock)
{
    const struct node_model *m = &d->model;
    double steps = floor((m->clock_max - clock) / m->clock_step + 1 - 1e-9);
    double down = m->clock_max - (steps < 0 ? 0 : steps) * m->clock_step;
    return down < m->clock_idle ? m->clock_idle : down;
}

static void govern(struct node_page *page, struct node_device *d, double dt)
{
    const struct node_model *m = &d->model;
    bool wanted = d->head < d->tail || d->background > 0;
    if (wanted)
        d->last_busy_ns = page->time_ns;
    bool active = wanted || page->time_ns - d->last_busy_ns < IDLE_AFTER_NS;
    uint32_t limits = 0;

    double target = active ? m->clock_max : m->clock_idle;
    if (!active)
        limits |= LIMIT_IDLE;
    if (active && d->clock_high > 0 && d->clock_high < target)
        target = d->clock_high, limits |= LIMIT_LOCKED;
    if (d->clock_low > target)
        target = d->clock_low;

    double hot = d->temperature - m->temperature_soft;
    if (hot > 0)
        d->thermal_clock = fmax(m->clock_idle, d->thermal_clock - m->clock_max * 0.02 * hot * dt);
    else
        d->thermal_clock = fmin(m->clock_max, d->thermal_clock + m->clock_max * 0.02 * fmin(1, -hot) * dt);
    double thermal = d->thermal_clock - (hot > 0 ? 0.03 * hot * m->clock_max : 0);
    if (thermal < target)
        target = fmax(thermal, m->clock_idle), limits |= LIMIT_THERMAL_SOFT;
    if (d->temperature >= m->temperature_hard || ((d->limits & LIMIT_THERMAL_HARD) && d->temperature > m->temperature_hard - 3))
        target = fmin(target, m->clock_max / 2), limits |= LIMIT_THERMAL_HARD;
    if (d->faults & FAULT_POWER_BRAKE)
        target = fmin(target, m->clock_max / 2), limits |= LIMIT_BRAKE;

    double capped = capped_clock(d, d->activity);
    if (capped < target)
        target = fmax(quantised(d, capped), m->clock_idle), limits |= LIMIT_POWER;

    double most = (m->clock_max - m->clock_idle) * dt / RAMP_SECONDS;
    d->clock = target > d->clock ? fmin(target, d->clock + most) : target;
    d->limits = limits;
    d->limits_seen |= limits;
    int64_t ns = (int64_t)(dt * 1e9);
    if (limits & LIMIT_POWER)
        d->power_violation_ns += ns;
    if (limits & (LIMIT_THERMAL_SOFT | LIMIT_THERMAL_HARD))
        d->thermal_violation_ns += ns;
    if (limits & LIMIT_THERMAL_HARD)
        d->hard_thermal_violation_ns += ns;
    if (limits & LIMIT_BRAKE)
        d->brake_violation_ns += ns;
}

static void finish(struct node_device *d, uint64_t sequence, int64_t at, uint32_t state)
{
    for (unsigned i = 0; i < NODE_EVENTS; i++)
        if (d->events[i].state == 2 && d->events[i].sequence == sequence) {
            d->events[i].state = state;
            d->events[i].time_ns = at;
        }
}

/* Let the queue run for dt; return seconds busy, and seconds times intensity. */
static double run(struct node_device *d, int64_t from, double dt, double *active)
{
    double left = dt, busy = 0;
    while (left > 0 && d->head < d->tail) {
        struct node_work *work = &d->work[d->head % NODE_WORK];
        int64_t at = from + (int64_t)((dt - left) * 1e9);
        if (work->begin_ns < 0)
            work->begin_ns = at;
        double waited = fmin(work->delay, left);
        work->delay -= waited;
        left -= waited;
        double used = fmin(work->cycles / d->clock, left);
        work->cycles -= used * d->clock;
        left -= used;
        busy += waited + used;
        *active += used * work->intensity;
        if (work->delay > 0 || work->cycles > 1e-6 * d->clock * 1e-3)
            break;
        if (work->end_ns < 0)
            work->end_ns = from + (int64_t)((dt - left) * 1e9);
        for (unsigned u = 0; u < NODE_UNITS; u++)
            d->operations[u] += work->operations[u];
        finish(d, d->head, work->end_ns, 3);
        d->head++;
    }
    double idle = dt - busy;
    if (idle > 0 && d->background > 0) {
        *active += idle * d->background * d->background_intensity;
        busy += idle * d->background;
    }
    return busy;
}

static void publish(struct node_device *d, int64_t now)
{
    uint64_t n = d->ticks++;
    d->tick_energy[n % 16] = d->energy;
    d->tick_busy[n % 16] = d->busy_seconds;
    uint64_t back = n < 10 ? n : 10;
    double seconds = 0.1 * (double)back;
    d->shown_instant_power = n > 0 ? (d->energy - d->early_energy) / (1e-9 * NODE_SAMPLED_NS) : d->power;
    d->shown_mean_power = back ? (d->energy - d->tick_energy[(n - back) % 16]) / seconds : d->power;
    d->shown_power = d->model.mean_window > 0 ? d->shown_mean_power : d->shown_instant_power;
    uint64_t recent = n < 2 ? n : 2;
    d->shown_busy = recent ? (d->busy_seconds - d->tick_busy[(n - recent) % 16]) / (0.1 * (double)recent) : 0;
    d->shown_ns = now;
}

static void step_device(struct node_page *page, struct node_device *d, int64_t ns)
{
    const struct node_model *m = &d->model;
    double dt = (double)ns * 1e-9, active = 0;
    if (d->faults & FAULT_LOST) {
        node_drop(d, 0, 0, true);
        d->background = 0;
        d->power = 0; /* fallen off the bus: what it draws then nobody knows; the simulated card is switched off */
        d->temperature += (page->ambient - d->temperature) * (1 - exp(-dt / m->time_constant));
        return;
    }
    govern(page, d, dt);
    double busy = run(d, page->time_ns, dt, &active);
    d->busy = busy / dt;
    d->busy_seconds += busy;
    d->activity += (active / dt - d->activity) * (1 - exp(-dt / ACTIVITY_SECONDS));
    d->power = node_power(d, active / dt, d->clock);
    d->energy += d->power * dt;
    double goal = page->ambient + m->thermal_resistance * d->power;
    d->temperature += (goal - d->temperature) * (1 - exp(-dt / m->time_constant));
    d->memory_temperature = d->temperature + 5;
    if (d->temperature >= m->temperature_shutdown)
        d->faults |= FAULT_LOST;
}

static bool quiet(const struct node_page *page)
{
    for (uint32_t i = 0; i < page->devices; i++) {
        const struct node_device *d = &page->device[i];
        if (d->head < d->tail || d->background > 0 || page->time_ns - d->last_busy_ns < 2 * IDLE_AFTER_NS)
            return false;
    }
    return true;
}

static void reap(struct node_device *d)
{
    int32_t last = 0;
    for (uint64_t s = d->head; s < d->tail; s++) {
        int32_t pid = d->work[s % NODE_WORK].pid;
        if (pid != last && kill(pid, 0) < 0 && errno == ESRCH) {
            node_drop(d, pid, 0, true);
            return;
        }
        last = pid;
    }
}

void node_advance(struct node_page *page, int64_t now)
{
    if (now - page->time_ns > LONG_IDLE_NS && quiet(page)) { /* nobody looked for an hour: nothing happened */
        int64_t skipped = (now - page->time_ns - LONG_IDLE_NS / 60) / NODE_TICK_NS * NODE_TICK_NS;
        for (uint32_t i = 0; i < page->devices; i++) {
            struct node_device *d = &page->device[i];
            double joules = d->power * (double)skipped * 1e-9;
            d->energy += joules;
            d->early_energy += joules;
            for (unsigned t = 0; t < 16; t++)
                d->tick_energy[t] += joules;
        }
        page->time_ns += skipped;
        page->grid += (uint64_t)(skipped / NODE_GRID_NS);
    }
    while (page->time_ns < now) {
        int64_t longest = quiet(page) && now - page->time_ns > 10 * NODE_TICK_NS ? NODE_GRID_NS : NODE_STEP_NS;
        int64_t ns = longest - page->time_ns % longest;
        if (ns > now - page->time_ns)
            ns = now - page->time_ns;
        if (page->time_ns % NODE_TICK_NS == 0)
            for (uint32_t i = 0; i < page->devices; i++)
                reap(&page->device[i]);
        for (uint32_t i = 0; i < page->devices; i++)
            step_device(page, &page->device[i], ns);
        page->time_ns += ns;
        for (uint32_t i = 0; i < page->devices && page->time_ns % NODE_COUNTED_NS == 0; i++)
            if (!(page->device[i].faults & FAULT_ENERGY_FROZEN))
                page->device[i].shown_energy = page->device[i].energy * page->device[i].energy_gain;
        int64_t phase = page->time_ns % NODE_TICK_NS;
        for (uint32_t i = 0; i < page->devices; i++) {
            if (phase == 0)
                publish(&page->device[i], page->time_ns);
            else if (phase == NODE_TICK_NS - NODE_SAMPLED_NS || (longest == NODE_GRID_NS && phase == 80000000LL))
                page->device[i].early_energy = page->device[i].energy - (phase == 80000000LL ? page->device[i].power * 0.005 : 0);
        }
        if (page->time_ns % NODE_GRID_NS == 0) {
            double total = 0;
            for (uint32_t i = 0; i < page->devices; i++)
                total += page->device[i].energy;
            page->grid = (uint64_t)(page->time_ns / NODE_GRID_NS);
            page->history[page->grid % NODE_HISTORY] = total;
        }
    }
}

bool node_full(const struct node_device *d)
{
    return d->tail - d->head >= NODE_WORK;
}

uint64_t node_submit(struct node_page *page, struct node_device *d, const struct node_work *work)
{
    uint64_t sequence = d->tail++;
    struct node_work *slot = &d->work[sequence % NODE_WORK];
    *slot = *work;
    slot->begin_ns = slot->end_ns = -1;
    d->last_busy_ns = page->time_ns;
    return sequence;
}

static bool last_of_stream(const struct node_device *d, int32_t pid, uint64_t stream, bool any, uint64_t *found)
{
    for (uint64_t s = d->tail; s-- > d->head;) {
        const struct node_work *work = &d->work[s % NODE_WORK];
        if (work->pid == pid && (any || work->stream == stream)) {
            *found = s;
            return true;
        }
    }
    return false;
}

bool node_pending(const struct node_device *d, int32_t pid, uint64_t stream, bool any_stream)
{
    uint64_t found;
    return last_of_stream(d, pid, stream, any_stream, &found);
}

/* Work of a process that died, or of a context that was destroyed, is not carried out. */
void node_drop(struct node_device *d, int32_t pid, uint64_t client, bool all_clients)
{
    uint64_t to = d->head;
    for (uint64_t s = d->head; s < d->tail; s++) {
        struct node_work *work = &d->work[s % NODE_WORK];
        if ((pid == 0 || work->pid == pid) && (all_clients || work->client == client)) {
            finish(d, s, 0, 4);
        } else {
            if (to != s) {
                d->work[to % NODE_WORK] = *work;
                for (unsigned i = 0; i < NODE_EVENTS; i++)
                    if (d->events[i].state == 2 && d->events[i].sequence == s)
                        d->events[i].sequence = to;
            }
            to++;
        }
    }
    d->tail = to;
}

int node_event_new(struct node_device *d, int32_t pid)
{
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < NODE_EVENTS; i++)
            if (d->events[i].state == 0) {
                d->events[i] = (struct node_event){ .state = 1, .pid = pid };
                return i;
            }
        for (int i = 0; i < NODE_EVENTS; i++)
            if (kill(d->events[i].pid, 0) < 0 && errno == ESRCH)
                d->events[i].state = 0;
    }
    return -1;
}

void node_event_record(struct node_page *page, struct node_device *d, int event, int32_t pid, uint64_t stream)
{
    struct node_event *e = &d->events[event];
    if (last_of_stream(d, pid, stream, stream == 0, &e->sequence)) {
        e->state = 2;
    } else {
        e->state = 3;
        e->time_ns = page->time_ns;
    }
}

struct node_client *node_client(struct node_device *d, int32_t pid, bool make)
{
    struct node_client *empty = NULL;
    for (unsigned i = 0; i < NODE_CLIENTS; i++) {
        struct node_client *client = &d->clients[i];
        if (client->pid != 0 && client->pid != pid && kill(client->pid, 0) < 0 && errno == ESRCH)
            *client = (struct node_client){ 0 };
        if (client->pid == pid)
            return client;
        if (client->pid == 0 && empty == NULL)
            empty = client;
    }
    if (make && empty != NULL)
        empty->pid = pid;
    return make ? empty : NULL;
}

uint64_t node_memory_used(const struct node_device *d)
{
    uint64_t used = d->model.memory_bytes / 128; /* what the driver keeps for itself */
    for (unsigned i = 0; i < NODE_CLIENTS; i++)
        used += d->clients[i].memory;
    return used < d->model.memory_bytes ? used : d->model.memory_bytes;
}
