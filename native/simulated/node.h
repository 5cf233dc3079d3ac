/* The state page of one simulated node: what every simulated vendor library of every process sees of it.
 *
 * One file, mapped shared. All times are world time in ns since the world began; all quantities SI unless a name
 * says otherwise. Whoever looks at the page first brings it up to the present under its lock, so that load, clock,
 * heat, power and energy are one story for everybody. */
#ifndef AICALIB_SIMULATED_NODE_H
#define AICALIB_SIMULATED_NODE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define NODE_MAGIC 0x4d49534c41434941ULL /* "AICALSIM" */
#define NODE_VERSION 1u
#define NODE_DEVICES 64
#define NODE_WORK 512
#define NODE_EVENTS 2048
#define NODE_CLIENTS 16
#define NODE_HISTORY 16384

#define NODE_STEP_NS 5000000LL      /* longest step of the integration */
#define NODE_GRID_NS 10000000LL     /* grid of the energy history that the mains see */
#define NODE_TICK_NS 100000000LL    /* the sensors publish every 100 ms ... */
#define NODE_COUNTED_NS 20000000LL  /* the energy counter advances in steps of so long */
#define NODE_SAMPLED_NS 25000000LL  /* ... and the instantaneous power looks at the last 25 ms (arXiv 2312.02741) */

/* Execution units that work occupies; rates are operations (multiply and add counted apart) a clock and core. */
enum node_unit {
    UNIT_FP64, UNIT_FP32, UNIT_FP16, UNIT_BF16, UNIT_INTEGER, UNIT_SPECIAL, UNIT_MEMORY,
    UNIT_MATRIX_FP64, UNIT_MATRIX_TF32, UNIT_MATRIX_FP16, UNIT_MATRIX_BF16, UNIT_MATRIX_FP32, UNIT_MATRIX_INT8,
    UNIT_MATRIX_FP8,
    NODE_UNITS
};

enum node_vendor { VENDOR_NVIDIA = 1, VENDOR_ASCEND = 2 };

/* Why the clock is below the highest. */
enum node_limit {
    LIMIT_IDLE = 1, LIMIT_POWER = 2, LIMIT_THERMAL_SOFT = 4, LIMIT_THERMAL_HARD = 8, LIMIT_LOCKED = 16, LIMIT_BRAKE = 32
};

/* Faults of a device; each is a bit of `faults`. */
enum node_fault {
    FAULT_LOST = 1, FAULT_NO_PERMISSION = 2, FAULT_TIMEOUT = 4, FAULT_ENERGY_FROZEN = 8, FAULT_MIG = 16,
    FAULT_ECC_UNCORRECTED = 32, FAULT_OCCUPIED = 64, FAULT_WRONG_RESULT = 128, FAULT_POWER_BRAKE = 256
};

/* Faults of the node. */
enum node_node_fault { FAULT_NO_DRIVER = 1, FAULT_MISMATCH = 2 };

struct node_model {
    char key[32], product[64], chip[32], part[32];
    uint32_t vendor, cores, vector_cores, lanes; /* multiprocessors or AI cores; lanes: FP32 a core */
    uint32_t capability_major, capability_minor, architecture;
    uint32_t bus_width, threads_per_core, shared_per_core, shared_per_block, level2_bytes, pci_device;
    uint32_t links; /* NVLink */
    uint64_t memory_bytes;
    double clock_idle, clock_max, clock_step, memory_clock;
    double power_idle, power_full, power_limit, power_limit_min, power_limit_max;
    double thermal_resistance, time_constant, temperature_soft, temperature_hard, temperature_shutdown;
    double mean_window; /* s over which the reported power is a mean, 0 = instantaneous */
    double exponent;    /* of the clock in the dynamic power */
    double mma_sync;    /* share of the matrix rate that mma.sync reaches */
    double rate[NODE_UNITS];
    double intensity[NODE_UNITS]; /* dynamic power at full rate, of power_full - power_idle */
};

struct node_work {
    uint64_t stream, client;
    int32_t pid;
    double delay, cycles, intensity; /* s and clocks left; share of the dynamic power */
    double operations[NODE_UNITS];   /* counted when it ends */
    int64_t begin_ns, end_ns; /* -1 = not yet; an end given beforehand is one that lies in the past */
};

/* state: 0 free, 1 never recorded, 2 waits for work `sequence`, 3 time stamp in time_ns, 4 its work was dropped. */
struct node_event {
    uint32_t state;
    int32_t pid;
    uint64_t sequence;
    int64_t time_ns;
};

struct node_client {
    int32_t pid;
    uint32_t busy;
    uint64_t memory;
};

struct node_device {
    struct node_model model;
    char serial[32];
    uint8_t uuid[16];
    uint32_t pci_domain, pci_bus;
    uint32_t faults;
    double power_gain, energy_gain;

    double power_limit, clock_low, clock_high; /* enforced cap; locked range, 0 = not locked */
    uint32_t persistence, limits, limits_seen;
    double clock, thermal_clock, activity, busy, temperature, memory_temperature, power, energy;
    double background, background_intensity;
    int64_t last_busy_ns;
    int64_t power_violation_ns, thermal_violation_ns, hard_thermal_violation_ns, brake_violation_ns;

    double tick_energy[16], tick_busy[16], early_energy, busy_seconds;
    uint64_t ticks;
    double shown_power, shown_mean_power, shown_instant_power, shown_energy, shown_busy;
    int64_t shown_ns;

    uint64_t ecc_corrected, ecc_uncorrected;
    double operations[NODE_UNITS];
    uint64_t head, tail; /* sequence of the oldest unfinished and of the next work */
    struct node_work work[NODE_WORK];
    struct node_event events[NODE_EVENTS];
    struct node_client clients[NODE_CLIENTS];
};

struct node_page {
    uint64_t magic;
    uint32_t version, size;
    pthread_mutex_t lock;
    uint32_t closed, faults, devices, vendor_mask;
    double rate; /* world seconds a real second, 0 = stepped */
    int64_t origin_ns, stepped_ns, time_ns; /* CLOCK_MONOTONIC at the beginning; present if stepped; integrated up to */
    double ambient;
    uint64_t grid;     /* energies known in the history */
    double history[NODE_HISTORY];
    struct node_device device[NODE_DEVICES];
};

/* models.c */
const struct node_model *node_model(const char *key);
const char *node_model_key(unsigned index);

/* node.c */
int node_create(const char *path, double rate, int64_t origin_ns);
int node_add(struct node_page *page, const char *model, const char *serial);
struct node_page *node_open(const char *path);
void node_use(const char *path);
struct node_page *node_find(void); /* NULL where no simulated node has been asked for, or it was closed */
int64_t node_present(const struct node_page *page);
double node_pace(const struct node_page *page);
void node_lock(struct node_page *page); /* takes the lock and brings the page up to the present */
void node_unlock(struct node_page *page);
void node_nap(struct node_page *page);
double node_power(const struct node_device *device, double activity, double clock);

/* physics.c: callers hold the lock */
void node_advance(struct node_page *page, int64_t now);
bool node_full(const struct node_device *device);
uint64_t node_submit(struct node_page *page, struct node_device *device, const struct node_work *work);
bool node_pending(const struct node_device *device, int32_t pid, uint64_t stream, bool any_stream);
void node_drop(struct node_device *device, int32_t pid, uint64_t client, bool all_clients);
int node_event_new(struct node_device *device, int32_t pid);
void node_event_record(struct node_page *page, struct node_device *device, int event, int32_t pid, uint64_t stream);
struct node_client *node_client(struct node_device *device, int32_t pid, bool make);
uint64_t node_memory_used(const struct node_device *device);

#endif
