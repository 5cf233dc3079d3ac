/* libnvidia-ml.so.1 of a simulated node: NVML of the NVIDIA devices on its state page.
 *
 * Signatures, sizes and codes are those of NVML API 13 as nvidia-ml-py declares them. What is not simulated answers
 * NOT_SUPPORTED (nvml_absent.h), as the library does for what a card has not. */
#define _GNU_SOURCE
#include "export.h"
#include "node.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

enum {
    OK = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NO_PERMISSION = 4, NOT_FOUND = 6,
    INSUFFICIENT_SIZE = 7, DRIVER_NOT_LOADED = 9, TIMEOUT = 10, GPU_IS_LOST = 15, MISMATCH = 18, VERSION_MISMATCH = 25
};

typedef struct handle { unsigned index; } *Device;

typedef struct { char bus_id_legacy[16]; unsigned domain, bus, device, device_id, subsystem_id; char bus_id[32]; } Pci;
typedef struct { unsigned version, domain, bus, device, device_id, subsystem_id, base_class, sub_class; char bus_id[32]; } PciExt;
typedef struct { unsigned gpu, memory; } Utilization;
typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } Memory2;
typedef struct { unsigned version; int sensor, celsius; } Temperature;
typedef struct { unsigned pid; unsigned long long used; unsigned gpu_instance, compute_instance; } Process;
typedef struct { unsigned pid; unsigned long long time_stamp; unsigned sm, memory, encoder, decoder; } ProcessSample;
typedef struct { unsigned long long reference_us, violation_ns; } Violation;
typedef union { double d; unsigned ui; unsigned long ul; unsigned long long ull; long long sll; } Value;
typedef struct { unsigned field, scope; long long time_stamp_us, latency_us; unsigned type, status; Value value; } Field;

_Static_assert(sizeof(Pci) == 68 && sizeof(PciExt) == 64, "PCI information");
_Static_assert(sizeof(Utilization) == 8 && sizeof(Memory) == 24 && sizeof(Memory2) == 40, "load and memory");
_Static_assert(sizeof(Temperature) == 12 && sizeof(Violation) == 16 && sizeof(Field) == 40, "readings");
_Static_assert(sizeof(Process) == 24 && sizeof(ProcessSample) == 32, "processes");

static struct handle handles[NODE_DEVICES];
static pthread_mutex_t life = PTHREAD_MUTEX_INITIALIZER;
static int initialized;
static struct node_page *page;

DEFINE_USE

EXPORT int nvmlInitWithFlags(unsigned flags)
{
    (void)flags;
    pthread_mutex_lock(&life);
    struct node_page *found = node_find();
    int code = OK;
    if (found == NULL || !(found->vendor_mask & VENDOR_NVIDIA) || (found->faults & FAULT_NO_DRIVER))
        code = DRIVER_NOT_LOADED;
    else if (found->faults & FAULT_MISMATCH)
        code = MISMATCH;
    if (code == OK) {
        for (unsigned i = 0; i < NODE_DEVICES; i++)
            handles[i].index = i;
        __atomic_store_n(&page, found, __ATOMIC_RELAXED);
        __atomic_add_fetch(&initialized, 1, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&life);
    return code;
}

EXPORT int nvmlInit_v2(void)
{
    return nvmlInitWithFlags(0);
}

EXPORT int nvmlInit(void)
{
    return nvmlInitWithFlags(0);
}

EXPORT int nvmlShutdown(void)
{
    pthread_mutex_lock(&life);
    int code = initialized > 0 ? OK : UNINITIALIZED;
    if (initialized > 0)
        __atomic_sub_fetch(&initialized, 1, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&life);
    return code;
}

/* NVIDIA devices only, in PCI order: the number-th of the page. */
static int page_index(const struct node_page *p, unsigned number)
{
    for (unsigned i = 0; i < p->devices; i++)
        if (p->device[i].model.vendor == VENDOR_NVIDIA && number-- == 0)
            return (int)i;
    return -1;
}

static unsigned number_of(const struct node_page *p, unsigned index)
{
    unsigned number = 0;
    for (unsigned i = 0; i < index; i++)
        number += p->device[i].model.vendor == VENDOR_NVIDIA;
    return number;
}

/* Without a lock: a child that is forked while another thread holds one would wait for it for ever. */
static struct node_page *current(void)
{
    return __atomic_load_n(&initialized, __ATOMIC_ACQUIRE) > 0 ? __atomic_load_n(&page, __ATOMIC_RELAXED) : NULL;
}

static int enter(Device handle, struct node_page **p, struct node_device **d)
{
    *p = current();
    if (*p == NULL)
        return UNINITIALIZED;
    if ((*p)->closed)
        return GPU_IS_LOST;
    if (handle < handles || handle >= handles + NODE_DEVICES || handle->index >= (*p)->devices)
        return INVALID_ARGUMENT;
    node_lock(*p);
    *d = &(*p)->device[handle->index];
    uint32_t faults = (*d)->faults;
    int code = faults & FAULT_LOST ? GPU_IS_LOST : faults & FAULT_TIMEOUT ? TIMEOUT : OK;
    if (code != OK)
        node_unlock(*p);
    return code;
}

static int text(char *out, unsigned length, const char *value)
{
    if (out == NULL)
        return INVALID_ARGUMENT;
    if (strlen(value) + 1 > length)
        return INSUFFICIENT_SIZE;
    strcpy(out, value);
    return OK;
}

/* READ(pointer that must not be null) { ... d is the device ... code = ...; } DONE */
#define READ(out)                                     \
    struct node_page *p;                              \
    struct node_device *d;                            \
    if (initialized > 0 && (const void *)(out) == NULL) \
        return INVALID_ARGUMENT;                      \
    int code = enter(handle, &p, &d);                 \
    if (code != OK)                                   \
        return code;
#define DONE        \
    node_unlock(p); \
    return code;

/* Functions that give one number, or one text, of the device d of the node p. */
#define NUMBER(name, type, value)                  \
    EXPORT int name(Device handle, type *out)      \
    {                                              \
        READ(out)                                  \
        *out = (value);                            \
        DONE                                       \
    }
#define TEXT(name, value)                                     \
    EXPORT int name(Device handle, char *out, unsigned length) \
    {                                                         \
        READ(out)                                             \
        code = text(out, length, value);                      \
        DONE                                                  \
    }

static unsigned mhz(double hertz)
{
    return (unsigned)lround(hertz / 1e6);
}

static unsigned milliwatt(const struct node_device *d, double watt)
{
    return (unsigned)llround(watt * d->power_gain * 1e3);
}

static unsigned long long millijoule(const struct node_page *p, const struct node_device *d)
{
    return (unsigned long long)llround(d->shown_energy * 1e3 / node_pace(p));
}

EXPORT int nvmlSystemGetDriverVersion(char *out, unsigned length)
{
    return current() == NULL ? UNINITIALIZED : text(out, length, "580.65.06");
}

EXPORT int nvmlSystemGetNVMLVersion(char *out, unsigned length)
{
    return current() == NULL ? UNINITIALIZED : text(out, length, "13.580.65.06");
}

EXPORT int nvmlSystemGetCudaDriverVersion(int *out)
{
    if (current() == NULL)
        return UNINITIALIZED;
    if (out == NULL)
        return INVALID_ARGUMENT;
    *out = 13000;
    return OK;
}

int nvmlSystemGetCudaDriverVersion_v2(int *) ALIAS(nvmlSystemGetCudaDriverVersion);

EXPORT int nvmlSystemGetProcessName(unsigned pid, char *out, unsigned length)
{
    char path[64], name[1024];
    if (current() == NULL)
        return UNINITIALIZED;
    if (out == NULL || length == 0)
        return INVALID_ARGUMENT;
    snprintf(path, sizeof path, "/proc/%u/cmdline", pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return NOT_FOUND;
    size_t got = fread(name, 1, sizeof name - 1, file);
    fclose(file);
    name[got] = 0;
    snprintf(out, length, "%s", name);
    return OK;
}

EXPORT int nvmlDeviceGetCount_v2(unsigned *count)
{
    struct node_page *p = current();
    if (p == NULL)
        return UNINITIALIZED;
    if (count == NULL)
        return INVALID_ARGUMENT;
    *count = number_of(p, p->devices);
    return OK;
}

int nvmlDeviceGetCount(unsigned *) ALIAS(nvmlDeviceGetCount_v2);

static int hand_out(struct node_page *p, int index, Device *out)
{
    if (index < 0)
        return NOT_FOUND;
    if (p->device[index].faults & FAULT_LOST)
        return GPU_IS_LOST;
    *out = &handles[index];
    return OK;
}

EXPORT int nvmlDeviceGetHandleByIndex_v2(unsigned number, Device *out)
{
    struct node_page *p = current();
    if (p == NULL)
        return UNINITIALIZED;
    int index = page_index(p, number);
    return out == NULL || index < 0 ? INVALID_ARGUMENT : hand_out(p, index, out);
}

int nvmlDeviceGetHandleByIndex(unsigned, Device *) ALIAS(nvmlDeviceGetHandleByIndex_v2);

static void format_uuid(const struct node_device *d, char *out)
{
    const uint8_t *u = d->uuid;
    sprintf(out, "GPU-%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[0], u[1], u[2], u[3], u[4],
            u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13], u[14], u[15]);
}

EXPORT int nvmlDeviceGetHandleByUUID(const char *uuid, Device *out)
{
    struct node_page *p = current();
    if (p == NULL)
        return UNINITIALIZED;
    if (uuid == NULL || out == NULL)
        return INVALID_ARGUMENT;
    char own[64];
    for (unsigned i = 0; i < p->devices; i++) {
        format_uuid(&p->device[i], own);
        if (p->device[i].model.vendor == VENDOR_NVIDIA && strcmp(own, uuid) == 0)
            return hand_out(p, (int)i, out);
    }
    return NOT_FOUND;
}

EXPORT int nvmlDeviceGetHandleByPciBusId_v2(const char *bus_id, Device *out)
{
    struct node_page *p = current();
    unsigned domain = 0, bus = 0, device = 0;
    if (p == NULL)
        return UNINITIALIZED;
    if (bus_id == NULL || out == NULL)
        return INVALID_ARGUMENT;
    if (sscanf(bus_id, "%x:%x:%x", &domain, &bus, &device) != 3) {
        domain = 0;
        if (sscanf(bus_id, "%x:%x", &bus, &device) != 2)
            return INVALID_ARGUMENT;
    }
    for (unsigned i = 0; i < p->devices; i++) {
        const struct node_device *d = &p->device[i];
        if (d->model.vendor == VENDOR_NVIDIA && d->pci_domain == domain && d->pci_bus == bus && device == 0)
            return hand_out(p, (int)i, out);
    }
    return NOT_FOUND;
}

int nvmlDeviceGetHandleByPciBusId(const char *, Device *) ALIAS(nvmlDeviceGetHandleByPciBusId_v2);

NUMBER(nvmlDeviceGetIndex, unsigned, number_of(p, handle->index))

EXPORT int nvmlDeviceGetMinorNumber(Device handle, unsigned *out)
{
    return nvmlDeviceGetIndex(handle, out);
}

TEXT(nvmlDeviceGetName, d->model.product)
TEXT(nvmlDeviceGetSerial, d->serial)

EXPORT int nvmlDeviceGetUUID(Device handle, char *out, unsigned length)
{
    READ(out)
    char uuid[64];
    format_uuid(d, uuid);
    code = text(out, length, uuid);
    DONE
}

TEXT(nvmlDeviceGetBoardPartNumber, d->model.part)
TEXT(nvmlDeviceGetVbiosVersion, "96.00.SIM.00.01")

EXPORT int nvmlDeviceGetInforomVersion(Device handle, unsigned object, char *out, unsigned length)
{
    READ(out)
    code = object > 3 ? INVALID_ARGUMENT : text(out, length, "2.1");
    DONE
}

TEXT(nvmlDeviceGetInforomImageVersion, "G520.0200.00.05")

EXPORT int nvmlDeviceGetGspFirmwareVersion(Device handle, char *out)
{
    READ(out)
    strcpy(out, "580.65.06");
    DONE
}

NUMBER(nvmlDeviceGetBrand, int, 14) /* NVIDIA */
NUMBER(nvmlDeviceGetArchitecture, unsigned, d->model.architecture)

EXPORT int nvmlDeviceGetCudaComputeCapability(Device handle, int *major, int *minor)
{
    READ(major == NULL ? NULL : minor)
    *major = (int)d->model.capability_major;
    *minor = (int)d->model.capability_minor;
    DONE
}

EXPORT int nvmlDeviceGetNumGpuCores(Device handle, unsigned *out)
{
    READ(out)
    *out = d->model.cores * d->model.lanes;
    code = d->faults & FAULT_MIG ? NOT_SUPPORTED : OK;
    DONE
}

NUMBER(nvmlDeviceGetMemoryBusWidth, unsigned, d->model.bus_width)

EXPORT int nvmlDeviceGetPciInfo_v3(Device handle, Pci *out)
{
    READ(out)
    memset(out, 0, sizeof *out);
    out->domain = d->pci_domain;
    out->bus = d->pci_bus;
    out->device_id = d->model.pci_device << 16 | 0x10de;
    out->subsystem_id = 0x16c110de;
    snprintf(out->bus_id_legacy, sizeof out->bus_id_legacy, "%04X:%02X:%02X.0", d->pci_domain & 0xffff, d->pci_bus & 0xff, 0);
    snprintf(out->bus_id, sizeof out->bus_id, "%08X:%02X:%02X.0", d->pci_domain, d->pci_bus & 0xff, 0);
    DONE
}

int nvmlDeviceGetPciInfo(Device, Pci *) ALIAS(nvmlDeviceGetPciInfo_v3);
int nvmlDeviceGetPciInfo_v2(Device, Pci *) ALIAS(nvmlDeviceGetPciInfo_v3);

EXPORT int nvmlDeviceGetPciInfoExt(Device handle, PciExt *out)
{
    READ(out)
    if (out->version != (sizeof *out | 1u << 24)) {
        code = VERSION_MISMATCH;
    } else {
        *out = (PciExt){ .version = out->version, .domain = d->pci_domain, .bus = d->pci_bus,
                         .device_id = d->model.pci_device << 16 | 0x10de, .subsystem_id = 0x16c110de, .base_class = 3, .sub_class = 2 };
        snprintf(out->bus_id, sizeof out->bus_id, "%08X:%02X:%02X.0", d->pci_domain, d->pci_bus & 0xff, 0);
    }
    DONE
}

NUMBER(nvmlDeviceGetMaxPcieLinkGeneration, unsigned, d->model.capability_major >= 9 ? 5 : 4)

int nvmlDeviceGetCurrPcieLinkGeneration(Device, unsigned *) ALIAS(nvmlDeviceGetMaxPcieLinkGeneration);

NUMBER(nvmlDeviceGetMaxPcieLinkWidth, unsigned, 16)

int nvmlDeviceGetCurrPcieLinkWidth(Device, unsigned *) ALIAS(nvmlDeviceGetMaxPcieLinkWidth);

EXPORT int nvmlDeviceGetPcieThroughput(Device handle, unsigned counter, unsigned *out)
{
    READ(out)
    *out = 0;
    code = counter > 1 ? INVALID_ARGUMENT : OK;
    DONE
}

NUMBER(nvmlDeviceGetPcieReplayCounter, unsigned, 0)

static int clock_of(const struct node_device *d, unsigned type, bool highest, unsigned *out)
{
    double clock = highest ? d->model.clock_max : d->clock;
    if (type > 3)
        return INVALID_ARGUMENT;
    *out = type == 2 ? mhz(d->model.memory_clock) : type == 3 ? mhz(clock * 0.9) : mhz(clock);
    return OK;
}

EXPORT int nvmlDeviceGetClockInfo(Device handle, unsigned type, unsigned *out)
{
    READ(out)
    code = clock_of(d, type, false, out);
    DONE
}

EXPORT int nvmlDeviceGetMaxClockInfo(Device handle, unsigned type, unsigned *out)
{
    READ(out)
    code = clock_of(d, type, true, out);
    DONE
}

int nvmlDeviceGetMaxCustomerBoostClock(Device, unsigned, unsigned *) ALIAS(nvmlDeviceGetMaxClockInfo);
int nvmlDeviceGetApplicationsClock(Device, unsigned, unsigned *) ALIAS(nvmlDeviceGetMaxClockInfo);
int nvmlDeviceGetDefaultApplicationsClock(Device, unsigned, unsigned *) ALIAS(nvmlDeviceGetMaxClockInfo);

EXPORT int nvmlDeviceGetClock(Device handle, unsigned type, unsigned id, unsigned *out)
{
    READ(out)
    code = id > 3 ? INVALID_ARGUMENT : clock_of(d, type, id != 0, out);
    DONE
}

static int clocks(unsigned *count, unsigned *out, double from, double to, double step)
{
    unsigned needed = (unsigned)((from - to) / step + 1e-6) + 1;
    if (*count < needed || out == NULL) {
        *count = needed;
        return INSUFFICIENT_SIZE;
    }
    for (unsigned i = 0; i < needed; i++)
        out[i] = mhz(from - i * step);
    *count = needed;
    return OK;
}

EXPORT int nvmlDeviceGetSupportedMemoryClocks(Device handle, unsigned *count, unsigned *out)
{
    READ(count)
    code = clocks(count, out, d->model.memory_clock, d->model.memory_clock, 1e6);
    DONE
}

EXPORT int nvmlDeviceGetSupportedGraphicsClocks(Device handle, unsigned memory, unsigned *count, unsigned *out)
{
    READ(count)
    code = memory != mhz(d->model.memory_clock) ? NOT_FOUND
                                                : clocks(count, out, d->model.clock_max, d->model.clock_idle, d->model.clock_step);
    DONE
}

#define PERMITTED                            \
    if (d->faults & FAULT_NO_PERMISSION) {   \
        node_unlock(p);                      \
        return NO_PERMISSION;                \
    }

EXPORT int nvmlDeviceSetGpuLockedClocks(Device handle, unsigned low, unsigned high)
{
    READ(handle)
    PERMITTED
    if (low > high || high == 0 || low > mhz(d->model.clock_max)) {
        code = INVALID_ARGUMENT;
    } else {
        d->clock_low = low * 1e6;
        d->clock_high = high * 1e6 < d->model.clock_idle ? d->model.clock_idle : high * 1e6;
    }
    DONE
}

EXPORT int nvmlDeviceResetGpuLockedClocks(Device handle)
{
    READ(handle)
    PERMITTED
    d->clock_low = d->clock_high = 0;
    DONE
}

EXPORT int nvmlDeviceSetMemoryLockedClocks(Device handle, unsigned low, unsigned high)
{
    READ(handle)
    PERMITTED
    code = low > high ? INVALID_ARGUMENT : OK;
    DONE
}

EXPORT int nvmlDeviceResetMemoryLockedClocks(Device handle)
{
    READ(handle)
    PERMITTED
    DONE
}

EXPORT int nvmlDeviceSetApplicationsClocks(Device handle, unsigned memory, unsigned graphics)
{
    READ(handle)
    PERMITTED
    if (memory != mhz(d->model.memory_clock) || graphics > mhz(d->model.clock_max))
        code = INVALID_ARGUMENT;
    else
        d->clock_high = graphics * 1e6;
    DONE
}

EXPORT int nvmlDeviceResetApplicationsClocks(Device handle)
{
    READ(handle)
    PERMITTED
    d->clock_high = 0;
    DONE
}

NUMBER(nvmlDeviceGetPowerUsage, unsigned, milliwatt(d, d->shown_power))
NUMBER(nvmlDeviceGetPowerManagementMode, int, 1)
NUMBER(nvmlDeviceGetPowerManagementLimit, unsigned, (unsigned)llround(d->power_limit * 1e3))

int nvmlDeviceGetEnforcedPowerLimit(Device, unsigned *) ALIAS(nvmlDeviceGetPowerManagementLimit);

NUMBER(nvmlDeviceGetPowerManagementDefaultLimit, unsigned, (unsigned)llround(d->model.power_limit * 1e3))

EXPORT int nvmlDeviceGetPowerManagementLimitConstraints(Device handle, unsigned *least, unsigned *most)
{
    READ(least == NULL ? NULL : most)
    *least = (unsigned)llround(d->model.power_limit_min * 1e3);
    *most = (unsigned)llround(d->model.power_limit_max * 1e3);
    DONE
}

EXPORT int nvmlDeviceSetPowerManagementLimit(Device handle, unsigned limit)
{
    READ(handle)
    PERMITTED
    if (limit < d->model.power_limit_min * 1e3 || limit > d->model.power_limit_max * 1e3)
        code = INVALID_ARGUMENT;
    else
        d->power_limit = limit / 1e3;
    DONE
}

NUMBER(nvmlDeviceGetTotalEnergyConsumption, unsigned long long, millijoule(p, d))

EXPORT int nvmlDeviceGetTemperature(Device handle, unsigned sensor, unsigned *out)
{
    READ(out)
    *out = (unsigned)lround(d->temperature);
    code = sensor != 0 ? INVALID_ARGUMENT : OK;
    DONE
}

EXPORT int nvmlDeviceGetTemperatureV(Device handle, Temperature *out)
{
    READ(out)
    if (out->version != (sizeof *out | 1u << 24))
        code = VERSION_MISMATCH;
    else if (out->sensor != 0)
        code = INVALID_ARGUMENT;
    else
        out->celsius = (int)lround(d->temperature);
    DONE
}

EXPORT int nvmlDeviceGetMarginTemperature(Device handle, Temperature *out)
{
    READ(out)
    struct { unsigned version; int margin; } *margin = (void *)out;
    if (margin->version != (sizeof *margin | 1u << 24))
        code = VERSION_MISMATCH;
    else
        margin->margin = (int)lround(d->model.temperature_soft - d->temperature);
    DONE
}

EXPORT int nvmlDeviceGetTemperatureThreshold(Device handle, unsigned which, unsigned *out)
{
    READ(out)
    const struct node_model *m = &d->model;
    double thresholds[] = { m->temperature_shutdown, m->temperature_hard, m->temperature_hard + 6, m->temperature_soft };
    if (which > 3)
        code = which > 8 ? INVALID_ARGUMENT : NOT_SUPPORTED;
    else
        *out = (unsigned)lround(thresholds[which]);
    DONE
}

static unsigned long long reasons(const struct node_device *d)
{
    static const struct { uint32_t limit; unsigned long long bits; } table[] = {
        { LIMIT_IDLE, 0x1 }, { LIMIT_LOCKED, 0x2 }, { LIMIT_POWER, 0x4 }, { LIMIT_THERMAL_SOFT, 0x20 },
        { LIMIT_THERMAL_HARD, 0x48 }, { LIMIT_BRAKE, 0x88 },
    };
    unsigned long long mask = 0;
    for (unsigned i = 0; i < sizeof table / sizeof table[0]; i++)
        mask |= d->limits & table[i].limit ? table[i].bits : 0;
    return mask;
}

NUMBER(nvmlDeviceGetCurrentClocksEventReasons, unsigned long long, reasons(d))

int nvmlDeviceGetCurrentClocksThrottleReasons(Device, unsigned long long *) ALIAS(nvmlDeviceGetCurrentClocksEventReasons);

NUMBER(nvmlDeviceGetSupportedClocksEventReasons, unsigned long long, 0xef)

int nvmlDeviceGetSupportedClocksThrottleReasons(Device, unsigned long long *) ALIAS(nvmlDeviceGetSupportedClocksEventReasons);

static int64_t violation(const struct node_page *p, const struct node_device *d, unsigned policy)
{
    double pace = node_pace(p);
    switch (policy) {
    case 0: return (int64_t)((double)d->power_violation_ns / pace);
    case 1: return (int64_t)((double)d->thermal_violation_ns / pace);
    case 2: case 3: case 4: case 5: return 0;
    case 10: case 11:
        return (int64_t)((double)(d->power_violation_ns + d->thermal_violation_ns + d->brake_violation_ns) / pace);
    default: return -1;
    }
}

EXPORT int nvmlDeviceGetViolationStatus(Device handle, unsigned policy, Violation *out)
{
    READ(out)
    int64_t ns = violation(p, d, policy);
    if (ns < 0)
        code = INVALID_ARGUMENT;
    else
        *out = (Violation){ (unsigned long long)((double)p->time_ns / 1000 / node_pace(p)), (unsigned long long)ns };
    DONE
}

NUMBER(nvmlDeviceGetPerformanceState, int, 0) /* data-centre cards stay in P0 */

int nvmlDeviceGetPowerState(Device, int *) ALIAS(nvmlDeviceGetPerformanceState);

EXPORT int nvmlDeviceGetUtilizationRates(Device handle, Utilization *out)
{
    READ(out)
    *out = (Utilization){ (unsigned)lround(100 * d->shown_busy), (unsigned)lround(40 * d->shown_busy) };
    code = d->faults & FAULT_MIG ? NOT_SUPPORTED : OK;
    DONE
}

EXPORT int nvmlDeviceGetEncoderUtilization(Device handle, unsigned *out, unsigned *period)
{
    READ(out == NULL ? NULL : period)
    *out = 0;
    *period = 167000;
    DONE
}

int nvmlDeviceGetDecoderUtilization(Device, unsigned *, unsigned *) ALIAS(nvmlDeviceGetEncoderUtilization);

EXPORT int nvmlDeviceGetMemoryInfo(Device handle, Memory *out)
{
    READ(out)
    *out = (Memory){ .total = d->model.memory_bytes, .used = node_memory_used(d) };
    out->free = out->total - out->used;
    DONE
}

EXPORT int nvmlDeviceGetMemoryInfo_v2(Device handle, Memory2 *out)
{
    READ(out)
    if (out->version != (sizeof *out | 2u << 24)) {
        code = VERSION_MISMATCH;
    } else {
        unsigned long long kept = d->model.memory_bytes / 128, used = node_memory_used(d) - kept;
        *out = (Memory2){ out->version, d->model.memory_bytes, kept, d->model.memory_bytes - kept - used, used };
    }
    DONE
}

EXPORT int nvmlDeviceGetBAR1MemoryInfo(Device handle, Memory *out)
{
    READ(out)
    struct { unsigned long long total, free, used; } *bar = (void *)out;
    bar->total = 128ULL << 30;
    bar->used = 1 << 20;
    bar->free = bar->total - bar->used;
    DONE
}

EXPORT int nvmlDeviceGetEccMode(Device handle, int *now, int *pending)
{
    READ(now == NULL ? NULL : pending)
    *now = *pending = 1;
    DONE
}

EXPORT int nvmlDeviceGetTotalEccErrors(Device handle, unsigned type, unsigned counter, unsigned long long *out)
{
    READ(out)
    if (type > 1 || counter > 1)
        code = INVALID_ARGUMENT;
    else
        *out = type == 0 ? d->ecc_corrected : d->ecc_uncorrected;
    DONE
}

EXPORT int nvmlDeviceGetMemoryErrorCounter(Device handle, unsigned type, unsigned counter, unsigned location,
                                           unsigned long long *out)
{
    READ(out)
    if (type > 1 || counter > 1)
        code = INVALID_ARGUMENT;
    else
        *out = location != 2 ? 0 : type == 0 ? d->ecc_corrected : d->ecc_uncorrected;
    DONE
}

EXPORT int nvmlDeviceGetRemappedRows(Device handle, unsigned *corrected, unsigned *uncorrected, unsigned *pending,
                                     unsigned *failed)
{
    READ(corrected != NULL && uncorrected != NULL && pending != NULL ? failed : NULL)
    *corrected = *pending = *failed = 0;
    *uncorrected = (unsigned)d->ecc_uncorrected;
    DONE
}

NUMBER(nvmlDeviceGetPersistenceMode, int, (int)d->persistence)

EXPORT int nvmlDeviceSetPersistenceMode(Device handle, int mode)
{
    READ(handle)
    PERMITTED
    if (mode != 0 && mode != 1)
        code = INVALID_ARGUMENT;
    else
        d->persistence = (uint32_t)mode;
    DONE
}

NUMBER(nvmlDeviceGetComputeMode, int, 0)

int nvmlDeviceGetDisplayActive(Device, int *) ALIAS(nvmlDeviceGetComputeMode);
int nvmlDeviceGetDisplayMode(Device, int *) ALIAS(nvmlDeviceGetComputeMode);

EXPORT int nvmlDeviceGetMigMode(Device handle, unsigned *now, unsigned *pending)
{
    READ(now == NULL ? NULL : pending)
    *now = *pending = (d->faults & FAULT_MIG) != 0;
    DONE
}

NUMBER(nvmlDeviceGetMaxMigDeviceCount, unsigned, 7)
NUMBER(nvmlDeviceIsMigDeviceHandle, unsigned, 0)

EXPORT int nvmlDeviceGetNvLinkState(Device handle, unsigned link, int *out)
{
    READ(out)
    *out = 1;
    code = link >= d->model.links ? INVALID_ARGUMENT : OK;
    DONE
}

EXPORT int nvmlDeviceGetNvLinkVersion(Device handle, unsigned link, unsigned *out)
{
    READ(out)
    *out = d->model.capability_major >= 9 ? 6 : 5;
    code = link >= d->model.links ? INVALID_ARGUMENT : OK;
    DONE
}

EXPORT int nvmlDeviceGetNvLinkErrorCounter(Device handle, unsigned link, unsigned counter, unsigned long long *out)
{
    READ(out)
    *out = 0;
    code = link >= d->model.links || counter > 4 ? INVALID_ARGUMENT : OK;
    DONE
}

EXPORT int nvmlDeviceGetComputeRunningProcesses_v3(Device handle, unsigned *count, Process *out)
{
    READ(count)
    node_client(d, getpid(), false); /* forgets the dead */
    unsigned found = 0;
    for (unsigned i = 0; i < NODE_CLIENTS; i++)
        found += d->clients[i].pid != 0;
    if (found > *count || (found > 0 && out == NULL)) {
        *count = found;
        code = INSUFFICIENT_SIZE;
    } else {
        *count = 0;
        for (unsigned i = 0; i < NODE_CLIENTS; i++)
            if (d->clients[i].pid != 0)
                out[(*count)++] = (Process){ (unsigned)d->clients[i].pid, d->clients[i].memory, 0xFFFFFFFF, 0xFFFFFFFF };
    }
    DONE
}

int nvmlDeviceGetComputeRunningProcesses_v2(Device, unsigned *, Process *) ALIAS(nvmlDeviceGetComputeRunningProcesses_v3);

EXPORT int nvmlDeviceGetGraphicsRunningProcesses_v3(Device handle, unsigned *count, Process *out)
{
    (void)out;
    READ(count)
    *count = 0;
    DONE
}

int nvmlDeviceGetGraphicsRunningProcesses_v2(Device, unsigned *, Process *) ALIAS(nvmlDeviceGetGraphicsRunningProcesses_v3);
int nvmlDeviceGetMPSComputeRunningProcesses_v3(Device, unsigned *, Process *) ALIAS(nvmlDeviceGetGraphicsRunningProcesses_v3);

EXPORT int nvmlDeviceGetProcessUtilization(Device handle, ProcessSample *out, unsigned *count, unsigned long long since)
{
    READ(count)
    (void)since;
    unsigned found = 0;
    for (unsigned i = 0; i < NODE_CLIENTS; i++)
        found += d->clients[i].pid != 0;
    if (out == NULL || *count < found) {
        *count = found;
        code = INSUFFICIENT_SIZE;
    } else {
        struct timeval now;
        gettimeofday(&now, NULL);
        *count = 0;
        for (unsigned i = 0; i < NODE_CLIENTS; i++)
            if (d->clients[i].pid != 0)
                out[(*count)++] = (ProcessSample){ (unsigned)d->clients[i].pid,
                                                   (unsigned long long)now.tv_sec * 1000000 + (unsigned long long)now.tv_usec,
                                                   (unsigned)lround(100 * d->shown_busy / found), 0, 0, 0 };
    }
    DONE
}

static int field(const struct node_page *p, const struct node_device *d, Field *f)
{
    const struct node_model *m = &d->model;
    f->type = 1;
    switch (f->field) {
    case 74: case 75: case 76: case 77: case 78: case 79: {
        static const unsigned policy[] = { 0, 1, 2, 3, 4, 5 };
        f->type = 3;
        f->value.ull = (unsigned long long)violation(p, d, policy[f->field - 74]);
        return OK;
    }
    case 80: case 81:
        f->type = 3;
        f->value.ull = (unsigned long long)violation(p, d, 10 + f->field - 80);
        return OK;
    case 82: f->value.ui = (unsigned)lround(d->memory_temperature); return OK;
    case 83:
        f->type = 3;
        f->value.ull = millijoule(p, d);
        return OK;
    case 91: f->value.ui = m->links; return OK;
    case 185:
        if (m->mean_window == 0)
            return NOT_SUPPORTED; /* GA100 */
        f->value.ui = milliwatt(d, d->shown_mean_power);
        return OK;
    case 186: f->value.ui = milliwatt(d, d->shown_instant_power); return OK;
    case 187: f->value.ui = (unsigned)llround(m->power_limit_min * 1e3); return OK;
    case 188: f->value.ui = (unsigned)llround(m->power_limit_max * 1e3); return OK;
    case 189: f->value.ui = (unsigned)llround(m->power_limit * 1e3); return OK;
    case 190: case 192: f->value.ui = (unsigned)llround(d->power_limit * 1e3); return OK;
    case 193: case 194: case 195: case 196: {
        double limits[] = { m->temperature_shutdown, m->temperature_hard, m->temperature_hard + 6, m->temperature_soft };
        f->type = 5;
        f->value.sll = 0;
        f->value.ui = (unsigned)lround(m->temperature_soft - limits[f->field - 193]);
        return OK;
    }
    case 269: f->type = 3; f->value.ull = (unsigned long long)((double)d->thermal_violation_ns / node_pace(p)); return OK;
    case 270: f->type = 3; f->value.ull = (unsigned long long)((double)d->hard_thermal_violation_ns / node_pace(p)); return OK;
    case 271: f->type = 3; f->value.ull = (unsigned long long)((double)d->brake_violation_ns / node_pace(p)); return OK;
    default: return NOT_SUPPORTED;
    }
}

EXPORT int nvmlDeviceGetFieldValues(Device handle, int count, Field *fields)
{
    READ(fields)
    struct timeval now;
    gettimeofday(&now, NULL);
    for (int i = 0; i < count; i++) {
        fields[i].time_stamp_us = (long long)now.tv_sec * 1000000 + now.tv_usec;
        fields[i].latency_us = 0;
        fields[i].value.ull = 0;
        fields[i].status = (unsigned)(fields[i].scope != 0 && fields[i].field >= 185 && fields[i].field <= 192
                                          ? NOT_SUPPORTED
                                          : field(p, d, &fields[i]));
    }
    code = count < 0 ? INVALID_ARGUMENT : OK;
    DONE
}

EXPORT const char *nvmlErrorString(int code)
{
    static const char *const texts[] = {
        "Success", "Uninitialized", "Invalid Argument", "Not Supported", "Insufficient Permissions", "Already Initialized",
        "Not Found", "Insufficient Size", "Insufficient External Power", "Driver Not Loaded", "Timeout",
        "Interrupt Request Issue", "NVML Shared Library Not Found", "Function Not Found", "Corrupted infoROM", "GPU is lost",
        "GPU requires reset", "The operating system has blocked the request", "Driver/library version mismatch",
        "In use by another client", "Insufficient Memory", "No data", "vGPU ECC Not Supported", "Insufficient Resources",
        "Frequency Not Supported", "Argument version mismatch", "Deprecated", "Not Ready", "GPU Not Found", "Invalid State",
        "Reset Type Not Supported",
    };
    return code >= 0 && code < (int)(sizeof texts / sizeof texts[0]) ? texts[code] : "Unknown Error";
}

/* Everything else that nvidia-ml-py knows: not supported by these cards. */
#define ABSENT(name) \
    EXPORT int name(void) { return initialized > 0 ? NOT_SUPPORTED : UNINITIALIZED; }
#include "nvml_absent.h"
