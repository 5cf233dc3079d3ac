/* libcuda.so.1 of a simulated node: the driver API on the NVIDIA devices of its state page.
 *
 * Knows no kernel: it reads the PTX that it is given (ptx.h), carries out one thread or one warp of it, or the whole grid
 * where that is small, counts the arithmetic, and lets the device be busy for as long as its units need at its clock.
 * Event times are the world's. Cubins, graphs, textures, peer access, managed memory and everything of the run-time API
 * are not simulated. Signatures and codes are those of the CUDA 13 driver API. */
#define _GNU_SOURCE
#include "export.h"
#include "node.h"
#include "ptx.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_INITIALIZED = 3, NO_DEVICE = 100, INVALID_DEVICE = 101, INVALID_IMAGE = 200,
    INVALID_CONTEXT = 201, NO_BINARY = 209, ECC_UNCORRECTABLE = 214, INVALID_PTX = 218, UNSUPPORTED_PTX = 222, INVALID_HANDLE = 400,
    NOT_FOUND = 500, NOT_READY = 600, ILLEGAL_ADDRESS = 700, OUT_OF_RESOURCES = 701, TIMEOUT = 702, LAUNCH_FAILED = 719,
    NOT_SUPPORTED = 801, DRIVER_MISMATCH = 803, UNKNOWN = 999
};

#define CACHED 16
#define BUDGET 6000000000ULL
#define COPY_RATE 25e9      /* bytes a second over PCIe */
#define LAUNCH_SECONDS 2e-6 /* what a launch costs on the device */
#define UNKNOWN_CYCLES 1e15

struct context { unsigned device; unsigned retained; bool alive; };
struct allocation { uint64_t address; size_t size; unsigned device; bool of_module; };

struct cached {
    bool used;
    uint32_t grid[3], block[3], shared, bytes;
    uint8_t *parameters;
    struct ptx_result result;
    uint64_t at;
};

struct function { struct module *module; struct ptx_function *ptx; struct cached cache[CACHED]; };
struct module { struct ptx_module ptx; unsigned device; struct function *functions; };
struct stream { unsigned device; uint64_t id; };
struct event { unsigned device; int slot; bool timed; };

static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;
static struct node_page *page;
static pid_t owner;
static unsigned numbers[NODE_DEVICES], device_count; /* page index of each CUDA device */
static struct context contexts[NODE_DEVICES];
static struct allocation *allocations;
static size_t allocation_count, allocation_room;
static uint64_t streams = 16, launches;
static int sticky[NODE_DEVICES]; /* an error that a kernel left behind */
static _Thread_local struct context *current;

DEFINE_USE

static int ready(void)
{
    return page == NULL || owner != getpid() ? NOT_INITIALIZED : OK; /* a fork does not inherit the driver */
}

EXPORT int cuInit(unsigned flags)
{
    if (flags != 0)
        return INVALID_VALUE;
    pthread_mutex_lock(&guard);
    struct node_page *found = node_find();
    int code = OK;
    if (page != NULL && owner != getpid())
        code = NOT_INITIALIZED;
    else if (found == NULL || !(found->vendor_mask & VENDOR_NVIDIA) || (found->faults & FAULT_NO_DRIVER))
        code = NO_DEVICE;
    else if (found->faults & FAULT_MISMATCH)
        code = DRIVER_MISMATCH;
    if (code == OK && found != page) {
        page = found;
        owner = getpid();
        device_count = 0;
        memset(contexts, 0, sizeof contexts);
        memset(sticky, 0, sizeof sticky);
    }
    if (code == OK) {
        device_count = 0;
        for (unsigned i = 0; i < found->devices; i++)
            if (found->device[i].model.vendor == VENDOR_NVIDIA)
                numbers[device_count++] = i;
    }
    pthread_mutex_unlock(&guard);
    return code;
}

static struct node_device *device_of(unsigned number)
{
    return &page->device[numbers[number]];
}

static int health(unsigned number)
{
    uint32_t faults = page->closed ? FAULT_LOST : device_of(number)->faults;
    return faults & FAULT_LOST ? UNKNOWN : faults & FAULT_ECC_UNCORRECTED ? ECC_UNCORRECTABLE : sticky[number];
}

#define READY               \
    do {                    \
        int r_ = ready();   \
        if (r_ != OK)       \
            return r_;      \
    } while (0)

#define DEVICE(number)                                             \
    READY;                                                         \
    if ((number) < 0 || (unsigned)(number) >= device_count)        \
        return INVALID_DEVICE;                                     \
    const struct node_model *m = &device_of((unsigned)(number))->model; \
    (void)m

#define CONTEXT                                                \
    READY;                                                     \
    if (current == NULL || !current->alive)                    \
        return INVALID_CONTEXT;                                \
    unsigned number = current->device;                         \
    if (health(number) != OK)                                  \
        return health(number)

EXPORT int cuDriverGetVersion(int *out)
{
    if (out == NULL)
        return INVALID_VALUE;
    *out = 13000;
    return OK;
}

EXPORT int cuDeviceGetCount(int *out)
{
    READY;
    if (out == NULL)
        return INVALID_VALUE;
    *out = (int)device_count;
    return OK;
}

EXPORT int cuDeviceGet(int *out, int number)
{
    DEVICE(number);
    if (out == NULL)
        return INVALID_VALUE;
    *out = number;
    return OK;
}

EXPORT int cuDeviceGetName(char *out, int length, int number)
{
    DEVICE(number);
    if (out == NULL || length <= 0)
        return INVALID_VALUE;
    snprintf(out, (size_t)length, "%s", m->product);
    return OK;
}

EXPORT int cuDeviceTotalMem_v2(size_t *out, int number)
{
    DEVICE(number);
    if (out == NULL)
        return INVALID_VALUE;
    *out = m->memory_bytes;
    return OK;
}

EXPORT int cuDeviceGetUuid_v2(uint8_t *out, int number)
{
    DEVICE(number);
    if (out == NULL)
        return INVALID_VALUE;
    memcpy(out, device_of((unsigned)number)->uuid, 16);
    return OK;
}

int cuDeviceGetUuid(uint8_t *, int) ALIAS(cuDeviceGetUuid_v2);

EXPORT int cuDeviceGetPCIBusId(char *out, int length, int number)
{
    DEVICE(number);
    if (out == NULL || length < 13)
        return INVALID_VALUE;
    snprintf(out, (size_t)length, "%04x:%02x:00.0", device_of((unsigned)number)->pci_domain & 0xffff, device_of((unsigned)number)->pci_bus & 0xff);
    return OK;
}

EXPORT int cuDeviceComputeCapability(int *major, int *minor, int number)
{
    DEVICE(number);
    if (major == NULL || minor == NULL)
        return INVALID_VALUE;
    *major = (int)m->capability_major;
    *minor = (int)m->capability_minor;
    return OK;
}

EXPORT int cuDeviceGetAttribute(int *out, int attribute, int number)
{
    DEVICE(number);
    if (out == NULL)
        return INVALID_VALUE;
    switch (attribute) {
    case 1: case 2: case 3: *out = 1024; break;
    case 4: *out = 64; break;
    case 5: *out = 2147483647; break;
    case 6: case 7: *out = 65535; break;
    case 8: *out = 49152; break;
    case 9: *out = 65536; break;
    case 10: *out = 32; break;
    case 12: *out = 65536; break;
    case 13: *out = (int)lround(m->clock_max / 1e3); break;
    case 16: *out = (int)m->cores; break;
    case 17: *out = 0; break;
    case 32: *out = 1; break;
    case 33: *out = (int)device_of((unsigned)number)->pci_bus; break;
    case 34: *out = 0; break;
    case 36: *out = (int)lround(m->memory_clock / 1e3); break;
    case 37: *out = (int)m->bus_width; break;
    case 38: *out = (int)m->level2_bytes; break;
    case 39: *out = (int)m->threads_per_core; break;
    case 41: case 31: *out = 1; break;
    case 50: *out = (int)device_of((unsigned)number)->pci_domain; break;
    case 75: *out = (int)m->capability_major; break;
    case 76: *out = (int)m->capability_minor; break;
    case 81: *out = (int)m->shared_per_core; break;
    case 82: *out = 65536; break;
    case 87: *out = (int)lround(m->rate[UNIT_FP32] / m->rate[UNIT_FP64]); break;
    case 97: *out = (int)m->shared_per_block; break;
    case 106: *out = 32; break;
    default:
        if (attribute < 1 || attribute > 150)
            return INVALID_VALUE;
        *out = 0;
    }
    return OK;
}

/* Contexts */

EXPORT int cuDevicePrimaryCtxRetain(void **out, int number)
{
    DEVICE(number);
    if (out == NULL)
        return INVALID_VALUE;
    if (health((unsigned)number) != OK)
        return health((unsigned)number);
    pthread_mutex_lock(&guard);
    struct context *context = &contexts[number];
    context->device = (unsigned)number;
    context->retained++;
    context->alive = true;
    *out = context;
    node_lock(page);
    struct node_client *client = node_client(device_of((unsigned)number), getpid(), true);
    if (client != NULL && client->memory == 0)
        client->memory = 400u << 20; /* what a context takes */
    node_unlock(page);
    pthread_mutex_unlock(&guard);
    return OK;
}

static void forget(unsigned number) /* with the guard */
{
    for (size_t a = 0; a < allocation_count;)
        if (allocations[a].device == number && !allocations[a].of_module) {
            munmap((void *)(uintptr_t)allocations[a].address, allocations[a].size);
            memmove(&allocations[a], &allocations[a + 1], (--allocation_count - a) * sizeof *allocations);
        } else {
            a++;
        }
    node_lock(page);
    struct node_device *d = device_of(number);
    node_drop(d, getpid(), 0, true);
    struct node_client *client = node_client(d, getpid(), false);
    if (client != NULL)
        *client = (struct node_client){ 0 };
    node_unlock(page);
    sticky[number] = OK;
}

EXPORT int cuDevicePrimaryCtxReset_v2(int number)
{
    DEVICE(number);
    pthread_mutex_lock(&guard);
    contexts[number].alive = false;
    contexts[number].retained = 0;
    forget((unsigned)number);
    pthread_mutex_unlock(&guard);
    return OK;
}

EXPORT int cuDevicePrimaryCtxRelease_v2(int number)
{
    DEVICE(number);
    pthread_mutex_lock(&guard);
    int code = contexts[number].retained > 0 ? OK : INVALID_CONTEXT;
    if (code == OK && --contexts[number].retained == 0) {
        contexts[number].alive = false;
        forget((unsigned)number);
    }
    pthread_mutex_unlock(&guard);
    return code;
}

int cuDevicePrimaryCtxRelease(int) ALIAS(cuDevicePrimaryCtxRelease_v2);

EXPORT int cuCtxSetCurrent(void *context)
{
    READY;
    struct context *given = context;
    if (given != NULL && (given < contexts || given >= contexts + NODE_DEVICES || !given->alive))
        return INVALID_CONTEXT;
    current = given;
    return OK;
}

EXPORT int cuCtxGetCurrent(void **out)
{
    READY;
    if (out == NULL)
        return INVALID_VALUE;
    *out = current;
    return OK;
}

EXPORT int cuCtxGetDevice(int *out)
{
    READY;
    if (current == NULL)
        return INVALID_CONTEXT;
    if (out == NULL)
        return INVALID_VALUE;
    *out = (int)current->device;
    return OK;
}

/* Waiting */

static int wait_for(unsigned number, uint64_t stream, bool any)
{
    for (;;) {
        node_lock(page);
        bool pending = node_pending(device_of(number), getpid(), stream, any);
        node_unlock(page);
        if (health(number) != OK)
            return health(number);
        if (!pending)
            return OK;
        node_nap(page);
    }
}

EXPORT int cuCtxSynchronize(void)
{
    CONTEXT;
    return wait_for(number, 0, true);
}

static uint64_t id_of(const void *stream)
{
    uintptr_t value = (uintptr_t)stream;
    return value <= 2 ? 0 : ((const struct stream *)stream)->id;
}

EXPORT int cuStreamCreate(void **out, unsigned flags)
{
    CONTEXT;
    if (out == NULL || flags > 1)
        return INVALID_VALUE;
    struct stream *made = malloc(sizeof *made);
    if (made == NULL)
        return OUT_OF_MEMORY;
    made->device = number;
    made->id = __atomic_add_fetch(&streams, 1, __ATOMIC_RELAXED);
    *out = made;
    return OK;
}

EXPORT int cuStreamCreateWithPriority(void **out, unsigned flags, int priority)
{
    (void)priority;
    return cuStreamCreate(out, flags);
}

EXPORT int cuStreamSynchronize(void *stream)
{
    CONTEXT;
    return wait_for(number, id_of(stream), id_of(stream) == 0);
}

EXPORT int cuStreamQuery(void *stream)
{
    CONTEXT;
    node_lock(page);
    bool pending = node_pending(device_of(number), getpid(), id_of(stream), id_of(stream) == 0);
    node_unlock(page);
    return pending ? NOT_READY : OK;
}

EXPORT int cuStreamDestroy_v2(void *stream)
{
    READY;
    if ((uintptr_t)stream <= 2)
        return INVALID_HANDLE;
    free(stream);
    return OK;
}

EXPORT int cuStreamWaitEvent(void *stream, void *event, unsigned flags)
{
    (void)stream;
    (void)flags;
    CONTEXT;
    return event == NULL ? INVALID_HANDLE : OK; /* a device carries all its work out in order */
}

/* Events */

EXPORT int cuEventCreate(void **out, unsigned flags)
{
    CONTEXT;
    if (out == NULL || flags > 7)
        return INVALID_VALUE;
    struct event *made = calloc(1, sizeof *made);
    if (made == NULL)
        return OUT_OF_MEMORY;
    node_lock(page);
    made->slot = node_event_new(device_of(number), getpid());
    node_unlock(page);
    made->device = number;
    made->timed = !(flags & 2);
    if (made->slot < 0) {
        free(made);
        return OUT_OF_MEMORY;
    }
    *out = made;
    return OK;
}

EXPORT int cuEventRecord(void *event, void *stream)
{
    CONTEXT;
    struct event *e = event;
    if (e == NULL || e->device != number)
        return INVALID_HANDLE;
    node_lock(page);
    node_event_record(page, device_of(number), e->slot, getpid(), id_of(stream));
    node_unlock(page);
    return OK;
}

/* A snapshot of an event: its state and time stamp. */
static struct node_event look(const struct event *e)
{
    node_lock(page);
    struct node_event found = device_of(e->device)->events[e->slot];
    node_unlock(page);
    return found;
}

EXPORT int cuEventQuery(void *event)
{
    CONTEXT;
    if (event == NULL)
        return INVALID_HANDLE;
    struct node_event e = look(event);
    return e.state == 2 ? NOT_READY : e.state == 4 ? UNKNOWN : OK;
}

EXPORT int cuEventSynchronize(void *event)
{
    CONTEXT;
    if (event == NULL)
        return INVALID_HANDLE;
    for (;;) {
        struct node_event e = look(event);
        if (health(number) != OK)
            return health(number);
        if (e.state != 2)
            return e.state == 4 ? UNKNOWN : OK;
        node_nap(page);
    }
}

EXPORT int cuEventElapsedTime(float *out, void *start, void *end)
{
    CONTEXT;
    const struct event *a = start, *b = end;
    if (out == NULL)
        return INVALID_VALUE;
    if (a == NULL || b == NULL || !a->timed || !b->timed || a->device != b->device)
        return INVALID_HANDLE;
    struct node_event from = look(a), to = look(b);
    if (from.state == 2 || to.state == 2)
        return NOT_READY;
    if (from.state != 3 || to.state != 3)
        return INVALID_HANDLE;
    *out = (float)((double)(to.time_ns - from.time_ns) * 1e-6 / node_pace(page));
    return OK;
}

int cuEventElapsedTime_v2(float *, void *, void *) ALIAS(cuEventElapsedTime);

EXPORT int cuEventDestroy_v2(void *event)
{
    READY;
    if (event == NULL)
        return INVALID_HANDLE;
    struct event *e = event;
    node_lock(page);
    if (device_of(e->device)->events[e->slot].pid == getpid())
        device_of(e->device)->events[e->slot].state = 0;
    node_unlock(page);
    free(e);
    return OK;
}

/* Memory: device memory is host memory of this process, at the same address. */

static int register_memory(uint64_t address, size_t size, unsigned number, bool of_module) /* with the guard */
{
    if (allocation_count == allocation_room) {
        size_t room = allocation_room ? 2 * allocation_room : 64;
        struct allocation *more = realloc(allocations, room * sizeof *more);
        if (more == NULL)
            return OUT_OF_MEMORY;
        allocations = more;
        allocation_room = room;
    }
    allocations[allocation_count++] = (struct allocation){ address, size, number, of_module };
    return OK;
}

static const struct allocation *holding(uint64_t address, size_t size) /* with the guard */
{
    for (size_t a = 0; a < allocation_count; a++)
        if (address >= allocations[a].address && address - allocations[a].address <= allocations[a].size &&
            size <= allocations[a].size - (address - allocations[a].address))
            return &allocations[a];
    return NULL;
}

EXPORT int cuMemAlloc_v2(uint64_t *out, size_t size)
{
    CONTEXT;
    if (out == NULL || size == 0)
        return INVALID_VALUE;
    struct node_device *d = device_of(number);
    size_t whole = (size + 511) / 512 * 512;
    int code = OK;
    pthread_mutex_lock(&guard);
    node_lock(page);
    struct node_client *client = node_client(d, getpid(), true);
    if (client == NULL || node_memory_used(d) + whole > d->model.memory_bytes)
        code = OUT_OF_MEMORY;
    if (code == OK) {
        void *memory = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        code = memory == MAP_FAILED ? OUT_OF_MEMORY : register_memory((uint64_t)(uintptr_t)memory, whole, number, false);
        if (code == OK) {
            client->memory += whole;
            *out = (uint64_t)(uintptr_t)memory;
        } else if (memory != MAP_FAILED) {
            munmap(memory, whole);
        }
    }
    node_unlock(page);
    pthread_mutex_unlock(&guard);
    return code;
}

EXPORT int cuMemFree_v2(uint64_t address)
{
    CONTEXT;
    int code = wait_for(number, 0, true);
    if (code != OK)
        return code;
    code = INVALID_VALUE;
    pthread_mutex_lock(&guard);
    for (size_t a = 0; a < allocation_count; a++)
        if (allocations[a].address == address && !allocations[a].of_module) {
            node_lock(page);
            struct node_client *client = node_client(device_of(allocations[a].device), getpid(), false);
            if (client != NULL && client->memory >= allocations[a].size)
                client->memory -= allocations[a].size;
            node_unlock(page);
            munmap((void *)(uintptr_t)address, allocations[a].size);
            memmove(&allocations[a], &allocations[a + 1], (--allocation_count - a) * sizeof *allocations);
            code = OK;
            break;
        }
    pthread_mutex_unlock(&guard);
    return code;
}

EXPORT int cuMemGetInfo_v2(size_t *available, size_t *total)
{
    CONTEXT;
    if (available == NULL || total == NULL)
        return INVALID_VALUE;
    node_lock(page);
    *total = device_of(number)->model.memory_bytes;
    *available = *total - node_memory_used(device_of(number));
    node_unlock(page);
    return OK;
}

static bool reachable(void *context, uint64_t address, size_t size)
{
    static _Thread_local struct allocation last;
    static _Thread_local uint64_t of_launch;
    if (of_launch == *(uint64_t *)context && address >= last.address && size <= last.size && address - last.address <= last.size - size)
        return true;
    pthread_mutex_lock(&guard);
    const struct allocation *found = holding(address, size);
    if (found != NULL) {
        last = *found;
        of_launch = *(uint64_t *)context;
    }
    pthread_mutex_unlock(&guard);
    return found != NULL;
}

static void submit(unsigned number, const struct node_work *given)
{
    struct node_work paced = *given, *work = &paced;
    work->pid = getpid();
    work->delay *= node_pace(page);
    work->cycles *= node_pace(page);
    for (;;) {
        node_lock(page);
        struct node_device *d = device_of(number);
        if (!node_full(d) || (d->faults & FAULT_LOST) || page->closed) {
            if (!(d->faults & FAULT_LOST) && !page->closed)
                node_submit(page, d, work);
            node_unlock(page);
            return;
        }
        node_unlock(page);
        node_nap(page);
    }
}

static int copy(void *to, const void *from, size_t size, uint64_t on_device, void *stream)
{
    CONTEXT;
    pthread_mutex_lock(&guard);
    bool inside = holding(on_device, size) != NULL;
    pthread_mutex_unlock(&guard);
    if (!inside)
        return INVALID_VALUE;
    if (size == 0)
        return OK;
    struct node_work work = { .stream = id_of(stream), .delay = LAUNCH_SECONDS + (double)size / COPY_RATE };
    submit(number, &work);
    int code = wait_for(number, id_of(stream), id_of(stream) == 0);
    if (code == OK)
        memmove(to, from, size);
    return code;
}

EXPORT int cuMemcpyHtoD_v2(uint64_t to, const void *from, size_t size)
{
    return from == NULL ? INVALID_VALUE : copy((void *)(uintptr_t)to, from, size, to, NULL);
}

EXPORT int cuMemcpyDtoH_v2(void *to, uint64_t from, size_t size)
{
    return to == NULL ? INVALID_VALUE : copy(to, (const void *)(uintptr_t)from, size, from, NULL);
}

/* The asynchronous copies have finished when they return, which the manual allows for pageable memory. */
EXPORT int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t size, void *stream)
{
    return from == NULL ? INVALID_VALUE : copy((void *)(uintptr_t)to, from, size, to, stream);
}

EXPORT int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t size, void *stream)
{
    return to == NULL ? INVALID_VALUE : copy(to, (const void *)(uintptr_t)from, size, from, stream);
}

static int set_memory(uint64_t to, uint64_t value, unsigned width, size_t count)
{
    CONTEXT;
    pthread_mutex_lock(&guard);
    bool inside = to % width == 0 && count <= SIZE_MAX / width && holding(to, count * width) != NULL;
    pthread_mutex_unlock(&guard);
    if (!inside)
        return INVALID_VALUE;
    int code = wait_for(number, 0, true);
    for (size_t n = 0; n < count && code == OK; n++)
        memcpy((char *)(uintptr_t)to + n * width, &value, width);
    return code;
}

EXPORT int cuMemsetD8_v2(uint64_t to, unsigned char value, size_t count)
{
    return set_memory(to, value, 1, count);
}

EXPORT int cuMemsetD16_v2(uint64_t to, unsigned short value, size_t count)
{
    return set_memory(to, value, 2, count);
}

EXPORT int cuMemsetD32_v2(uint64_t to, unsigned value, size_t count)
{
    return set_memory(to, value, 4, count);
}

/* Modules */

EXPORT int cuModuleUnload(void *module)
{
    READY;
    struct module *m = module;
    if (m == NULL)
        return INVALID_HANDLE;
    pthread_mutex_lock(&guard);
    for (size_t a = 0; a < allocation_count; a++)
        if (allocations[a].of_module && allocations[a].address == (uint64_t)(uintptr_t)m->ptx.globals) {
            memmove(&allocations[a], &allocations[a + 1], (--allocation_count - a) * sizeof *allocations);
            break;
        }
    pthread_mutex_unlock(&guard);
    for (uint32_t f = 0; f < m->ptx.function_count; f++)
        for (unsigned c = 0; c < CACHED; c++) {
            free(m->functions[f].cache[c].parameters);
            free(m->functions[f].cache[c].result.loads);
            free(m->functions[f].cache[c].result.stores);
        }
    free(m->functions);
    ptx_unload(&m->ptx);
    free(m);
    return OK;
}

EXPORT int cuModuleLoadDataEx(void **out, const void *image, unsigned count, int *options, void **values)
{
    CONTEXT;
    if (out == NULL || image == NULL)
        return INVALID_VALUE;
    const unsigned char *bytes = image;
    if (memcmp(bytes, "\177ELF", 4) == 0 || (bytes[0] == 0x50 && bytes[1] == 0xed && bytes[2] == 0x55 && bytes[3] == 0xba))
        return NO_BINARY; /* machine code for a chip that is not there */
    char *error_log = NULL;
    size_t error_size = 0;
    for (unsigned o = 0; options != NULL && values != NULL && o < count; o++) {
        if (options[o] == 5)
            error_log = values[o];
        if (options[o] == 6)
            error_size = (size_t)(uintptr_t)values[o];
        if (options[o] == 4 || options[o] == 3)
            continue;
    }
    char log[512] = "";
    struct module *made = calloc(1, sizeof *made);
    if (made == NULL)
        return OUT_OF_MEMORY;
    const struct node_model *m = &device_of(number)->model;
    int code = ptx_load(image, m->capability_major, m->capability_minor, &made->ptx, log, sizeof log);
    if (error_log != NULL && error_size > 0)
        snprintf(error_log, error_size, "%s", log);
    if (code == OK) {
        made->device = number;
        made->functions = calloc(made->ptx.function_count + 1, sizeof *made->functions);
        code = made->functions == NULL ? OUT_OF_MEMORY : OK;
    }
    if (code != OK) {
        free(made);
        return code;
    }
    for (uint32_t f = 0; f < made->ptx.function_count; f++) {
        made->functions[f].module = made;
        made->functions[f].ptx = &made->ptx.functions[f];
    }
    if (made->ptx.global_bytes > 0) {
        pthread_mutex_lock(&guard);
        register_memory((uint64_t)(uintptr_t)made->ptx.globals, made->ptx.global_bytes, number, true);
        pthread_mutex_unlock(&guard);
    }
    *out = made;
    return OK;
}

EXPORT int cuModuleLoadData(void **out, const void *image)
{
    return cuModuleLoadDataEx(out, image, 0, NULL, NULL);
}

EXPORT int cuModuleGetFunction(void **out, void *module, const char *name)
{
    CONTEXT;
    struct module *m = module;
    if (out == NULL || m == NULL || name == NULL)
        return INVALID_VALUE;
    for (uint32_t f = 0; f < m->ptx.function_count; f++)
        if (strcmp(m->ptx.functions[f].name, name) == 0) {
            *out = &m->functions[f];
            return OK;
        }
    return NOT_FOUND;
}

EXPORT int cuModuleGetGlobal_v2(uint64_t *out, size_t *size, void *module, const char *name)
{
    CONTEXT;
    struct module *m = module;
    if (m == NULL || name == NULL)
        return INVALID_VALUE;
    for (uint32_t s = 0; s < m->ptx.symbol_count; s++)
        if (strcmp(m->ptx.symbols[s].name, name) == 0 && m->ptx.symbols[s].space == SPACE_GLOBAL) {
            if (out != NULL)
                *out = m->ptx.symbols[s].address;
            if (size != NULL)
                *size = m->ptx.symbols[s].size;
            return OK;
        }
    return NOT_FOUND;
}

/* Launching */

static bool repeats(const struct cached *c, const struct ptx_launch *l)
{
    if (!c->used || memcmp(c->grid, l->grid, sizeof c->grid) != 0 || memcmp(c->block, l->block, sizeof c->block) != 0 ||
        c->shared != l->shared_dynamic || (c->bytes > 0 && memcmp(c->parameters, l->parameters, c->bytes) != 0))
        return false;
    for (uint32_t a = 0; a < c->result.load_count; a++) {
        const struct ptx_access *access = &c->result.loads[a];
        if (!l->reachable(l->context, access->address, access->size) ||
            memcmp((void *)(uintptr_t)access->address, &access->value, access->size) != 0)
            return false;
    }
    for (uint32_t a = 0; a < c->result.store_count; a++)
        if (!l->reachable(l->context, c->result.stores[a].address, c->result.stores[a].size))
            return false;
    return true;
}

/* Run the function, or where the same threads would load the same values again, repeat what they stored. */
static int interpret(struct function *f, const struct ptx_launch *launch, struct ptx_result *result, char *log, size_t size)
{
    pthread_mutex_lock(&guard);
    uint64_t now = ++launches;
    pthread_mutex_unlock(&guard);
    struct cached *oldest = &f->cache[0];
    for (unsigned c = 0; c < CACHED && !launch->faulty; c++) {
        struct cached *candidate = &f->cache[c];
        if (repeats(candidate, launch)) {
            for (uint32_t a = 0; a < candidate->result.store_count; a++)
                memcpy((void *)(uintptr_t)candidate->result.stores[a].address, &candidate->result.stores[a].value, candidate->result.stores[a].size);
            *result = candidate->result;
            candidate->at = now;
            return OK;
        }
        if (candidate->at < oldest->at)
            oldest = candidate;
    }
    int code = ptx_run(launch, result, log, size);
    if (code == OK && result->remembered && !launch->faulty) {
        free(oldest->parameters);
        free(oldest->result.loads);
        free(oldest->result.stores);
        *oldest = (struct cached){ .used = true, .shared = launch->shared_dynamic, .bytes = f->ptx->parameter_bytes, .result = *result, .at = now };
        memcpy(oldest->grid, launch->grid, sizeof oldest->grid);
        memcpy(oldest->block, launch->block, sizeof oldest->block);
        oldest->parameters = malloc(oldest->bytes + 1);
        if (oldest->parameters == NULL)
            oldest->used = false;
        else
            memcpy(oldest->parameters, launch->parameters, oldest->bytes);
    } else {
        free(result->loads);
        free(result->stores);
    }
    result->loads = result->stores = NULL;
    return code;
}

/* How many clocks the busiest multiprocessor needs, and how much of the dynamic power the units take. */
static void estimate(const struct node_model *m, const struct ptx_launch *l, const struct ptx_result *result, struct node_work *work)
{
    double blocks = (double)l->grid[0] * l->grid[1] * l->grid[2];
    double block_threads = (double)l->block[0] * l->block[1] * l->block[2], threads = blocks * block_threads;
    double of_busiest = ceil(blocks / m->cores) * block_threads / threads; /* share of all threads */
    double warp = result->instructions / threads;                         /* instructions of one warp */
    double longest = ceil(result->instructions / 32 * of_busiest / 4);     /* four are issued a clock */
    if (longest < warp)
        longest = warp;
    double busy[NODE_UNITS], active = 0;
    for (unsigned u = 0; u < NODE_UNITS; u++) {
        double rate = m->rate[u] * (u >= UNIT_MATRIX_FP64 ? m->mma_sync : 1);
        busy[u] = rate > 0 ? result->slots[u] * of_busiest / rate : 0;
        if (busy[u] > longest)
            longest = busy[u];
        work->operations[u] = result->operations[u];
    }
    for (unsigned u = 0; u < NODE_UNITS && longest > 0; u++)
        active += m->intensity[u] * busy[u] / longest;
    double used = fmin(1, blocks / m->cores);
    work->cycles = longest;
    work->intensity = fmin(1.05, active) * used;
}

/* Tell work that was submitted before its length was known how long it is. */
static void settle(unsigned number, const struct node_work *known)
{
    node_lock(page);
    struct node_device *d = device_of(number);
    for (uint64_t s = d->head; s < d->tail; s++) {
        struct node_work *slot = &d->work[s % NODE_WORK];
        if (slot->pid != getpid() || slot->client != known->client)
            continue;
        double pace = node_pace(page), cycles = known->cycles * pace, done = UNKNOWN_CYCLES * pace - slot->cycles;
        slot->intensity = known->intensity;
        memcpy(slot->operations, known->operations, sizeof slot->operations);
        slot->cycles = cycles > done ? cycles - done : 0;
        if (cycles <= done && slot->begin_ns >= 0)
            slot->end_ns = slot->begin_ns + (int64_t)((known->delay * pace + cycles / d->clock) * 1e9);
    }
    node_unlock(page);
}

EXPORT int cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                          unsigned shared, void *stream, void **parameters, void **extra)
{
    CONTEXT;
    struct function *f = function;
    if (f == NULL || f->module->device != number)
        return INVALID_HANDLE;
    struct node_device *d = device_of(number);
    if (gx == 0 || gy == 0 || gz == 0 || bx == 0 || by == 0 || bz == 0 || bx > 1024 || by > 1024 || bz > 64 || gy > 65535 || gz > 65535 ||
        gx > 2147483647u || (uint64_t)bx * by * bz > 1024 || (uint64_t)f->ptx->shared_bytes + shared > d->model.shared_per_block)
        return INVALID_VALUE;
    if (bx * by * bz > f->ptx->max_threads)
        return OUT_OF_RESOURCES;
    uint8_t given[4096 + 128] = { 0 };
    if (f->ptx->parameter_bytes > sizeof given)
        return INVALID_VALUE;
    if (parameters != NULL) {
        for (uint32_t p = 0; p < f->ptx->parameter_count; p++)
            memcpy(given + f->ptx->parameters[p].offset, parameters[p], f->ptx->parameters[p].size);
    } else if (extra != NULL) {
        const void *buffer = NULL;
        size_t size = 0;
        for (unsigned e = 0; extra[e] != NULL; e += 2) {
            if (extra[e] == (void *)1)
                buffer = extra[e + 1];
            else if (extra[e] == (void *)2)
                size = *(size_t *)extra[e + 1];
        }
        if (buffer == NULL || size > sizeof given || size < f->ptx->parameter_bytes)
            return INVALID_VALUE;
        memcpy(given, buffer, size);
    } else if (f->ptx->parameter_count > 0) {
        return INVALID_VALUE;
    }
    uint64_t tag = __atomic_add_fetch(&launches, 1, __ATOMIC_RELAXED);
    struct ptx_launch launch = {
        .function = f->ptx, .model = &d->model, .grid = { gx, gy, gz }, .block = { bx, by, bz }, .shared_dynamic = shared, .parameters = given,
        .reachable = reachable, .context = &tag, .budget = BUDGET, .faulty = (d->faults & FAULT_WRONG_RESULT) != 0,
    };
    char log[512] = "";
    struct ptx_result result;
    /* The kernel runs from now on, for as long as will turn out: the world does not wait while the simulator interprets. */
    struct node_work work = { .stream = id_of(stream), .client = tag, .delay = LAUNCH_SECONDS, .cycles = UNKNOWN_CYCLES };
    submit(number, &work);
    int code = interpret(f, &launch, &result, log, sizeof log);
    if (code == OK)
        estimate(&d->model, &launch, &result, &work);
    else
        work.cycles = work.delay = 0;
    settle(number, &work);
    if (code == ILLEGAL_ADDRESS || code == LAUNCH_FAILED || code == TIMEOUT) {
        sticky[number] = code; /* seen at the next synchronisation, and for good */
        return OK;
    }
    return code;
}

EXPORT int cuOccupancyMaxActiveBlocksPerMultiprocessor(int *out, void *function, int block, size_t shared)
{
    CONTEXT;
    const struct function *f = function;
    if (out == NULL || f == NULL || block <= 0 || block > 1024)
        return INVALID_VALUE;
    const struct node_model *m = &device_of(number)->model;
    size_t of_block = f->ptx->shared_bytes + shared;
    int by_threads = (int)m->threads_per_core / ((block + 31) / 32 * 32);
    int by_shared = of_block == 0 ? 32 : (int)(m->shared_per_core / (of_block + 1024));
    *out = by_threads < by_shared ? by_threads : by_shared;
    *out = *out > 32 ? 32 : *out;
    return OK;
}

EXPORT int cuFuncGetAttribute(int *out, int attribute, void *function)
{
    CONTEXT;
    const struct function *f = function;
    if (out == NULL || f == NULL)
        return INVALID_VALUE;
    switch (attribute) {
    case 0: *out = (int)f->ptx->max_threads; break;
    case 1: *out = (int)f->ptx->shared_bytes; break;
    case 2: *out = 0; break;
    case 3: *out = (int)f->ptx->local_bytes; break;
    case 4: *out = f->ptx->registers < 64 ? (int)f->ptx->registers : 64; break;
    case 5: case 6: *out = (int)(10 * device_of(number)->model.capability_major + device_of(number)->model.capability_minor); break;
    case 8: *out = (int)device_of(number)->model.shared_per_block; break;
    default: return attribute < 0 || attribute > 20 ? INVALID_VALUE : (*out = 0, OK);
    }
    return OK;
}

EXPORT int cuFuncSetAttribute(void *function, int attribute, int value)
{
    CONTEXT;
    if (function == NULL || (attribute != 8 && attribute != 9))
        return INVALID_VALUE;
    return attribute == 8 && (value < 0 || (uint32_t)value > device_of(number)->model.shared_per_block) ? INVALID_VALUE : OK;
}

static const struct { int code; const char *name, *text; } ERRORS[] = {
    { OK, "CUDA_SUCCESS", "no error" },
    { INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument" },
    { OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory" },
    { NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error" },
    { NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected" },
    { INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal" },
    { INVALID_IMAGE, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid" },
    { INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context" },
    { NO_BINARY, "CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image is available for execution on the device" },
    { ECC_UNCORRECTABLE, "CUDA_ERROR_ECC_UNCORRECTABLE", "uncorrectable ECC error encountered" },
    { INVALID_PTX, "CUDA_ERROR_INVALID_PTX", "a PTX JIT compilation failed" },
    { UNSUPPORTED_PTX, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION", "the provided PTX was compiled with an unsupported toolchain." },
    { INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle" },
    { NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found" },
    { NOT_READY, "CUDA_ERROR_NOT_READY", "device not ready" },
    { ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered" },
    { OUT_OF_RESOURCES, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", "too many resources requested for launch" },
    { TIMEOUT, "CUDA_ERROR_LAUNCH_TIMEOUT", "the launch timed out and was terminated" },
    { LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure" },
    { NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported" },
    { DRIVER_MISMATCH, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "system has unsupported display driver / cuda driver combination" },
    { UNKNOWN, "CUDA_ERROR_UNKNOWN", "unknown error" },
};

EXPORT int cuGetErrorName(int code, const char **out)
{
    for (unsigned e = 0; e < sizeof ERRORS / sizeof ERRORS[0]; e++)
        if (ERRORS[e].code == code) {
            *out = ERRORS[e].name;
            return OK;
        }
    *out = NULL;
    return INVALID_VALUE;
}

EXPORT int cuGetErrorString(int code, const char **out)
{
    for (unsigned e = 0; e < sizeof ERRORS / sizeof ERRORS[0]; e++)
        if (ERRORS[e].code == code) {
            *out = ERRORS[e].text;
            return OK;
        }
    *out = NULL;
    return INVALID_VALUE;
}
