/* libascendcl.so of a simulated node: devices, streams, events and memory of AscendCL on the Ascend devices of its page.
 *
 * Function names, argument order and codes as open clients of AscendCL use them. Products of matrices are computed when
 * somebody reads them, and then truly: wholly where they are small, else the elements that are read, up to PRODUCTS
 * multiplications a copy; what is beyond that is NaN, so that nothing that was not computed can be taken for a result. */
#define _GNU_SOURCE
#include "ascendcl.h"
#include "export.h"
#include "node.h"
#include "numbers.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    OK = 0, INVALID_PARAMETER = 100000, UNINITIALIZED = 100001, REPEAT_INITIALIZE = 100002, REPEAT_FINALIZE = 100037,
    DRIVER_FAILURE = 500004, RT_PARAMETER = 107000, RT_DEVICE = 107001, RT_CONTEXT = 107002, EVENT_NOT_RECORDED = 107006,
    EVENT_REVERSED = 107007, NO_DEVICE = 207004, DEVICE_MEMORY = 207018, LOST_HEARTBEAT = 507010, AICORE_TIMEOUT = 507014,
    SYNC_TIMEOUT = 507046, HBM_ECC = 507054, DRIVER_INTERNAL = 507899
};

#define PRODUCTS (1ULL << 26)
#define HOST_COPY_RATE 25e9
#define DEVICE_COPY_RATE 800e9
#define LAUNCH_SECONDS 5e-6

struct allocation { uint8_t *address; size_t size; unsigned device; bool freed; };
struct stream { unsigned device; uint64_t id; };
struct event { unsigned device; int slot; bool timed, recorded; };
struct pending { struct acl_executor work; bool wrong; };

static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;
static struct node_page *page;
static pid_t owner;
static bool finalized;
static unsigned numbers[NODE_DEVICES], device_count;
static struct allocation *allocations;
static size_t allocation_count, allocation_room;
static struct pending *pendings;
static size_t pending_count, pending_room;
static uint64_t stream_ids = 16;
static _Thread_local int current = -1;
static _Thread_local char message[512];

DEFINE_USE

EXPORT void aicalib_acl_message(const char *text)
{
    snprintf(message, sizeof message, "%s", text);
}

static int failed(int code, const char *text)
{
    aicalib_acl_message(text);
    return code;
}

EXPORT bool aicalib_acl_ready(void)
{
    return page != NULL && owner == getpid() && !finalized;
}

EXPORT bool aicalib_acl_first_generation(void)
{
    return current >= 0 && page->device[numbers[current]].model.vector_cores == 0;
}

#define READY                                                             \
    do {                                                                  \
        if (!aicalib_acl_ready())                                         \
            return failed(UNINITIALIZED, "aclInit has not been called");  \
    } while (0)
#define CONTEXT                                                           \
    READY;                                                                \
    if (current < 0)                                                      \
        return failed(RT_CONTEXT, "no device has been set in this thread")
#define NEEDS(condition)                                                  \
    do {                                                                  \
        if (!(condition))                                                 \
            return failed(INVALID_PARAMETER, "invalid parameter: " #condition); \
    } while (0)

EXPORT int aclInit(const char *configuration)
{
    (void)configuration;
    pthread_mutex_lock(&guard);
    struct node_page *found = node_find();
    int code = OK;
    if (found == NULL || !(found->vendor_mask & VENDOR_ASCEND) || (found->faults & (FAULT_NO_DRIVER | FAULT_MISMATCH)))
        code = failed(DRIVER_FAILURE, "the driver is not loaded");
    else if (page == found && owner == getpid() && !finalized)
        code = failed(REPEAT_INITIALIZE, "aclInit has been called before");
    if (code == OK) {
        page = found;
        owner = getpid();
        finalized = false;
        device_count = 0;
        pending_count = 0;
        for (unsigned i = 0; i < page->devices; i++)
            if (page->device[i].model.vendor == VENDOR_ASCEND)
                numbers[device_count++] = i;
    }
    pthread_mutex_unlock(&guard);
    return code;
}

static struct node_device *device_of(unsigned number)
{
    return &page->device[numbers[number]];
}

static void forget(unsigned number) /* with the guard */
{
    for (size_t a = 0; a < allocation_count;)
        if (allocations[a].device == number) {
            for (size_t p = 0; p < pending_count;)
                if (pendings[p].work.c.data >= allocations[a].address && pendings[p].work.c.data < allocations[a].address + allocations[a].size)
                    pendings[p] = pendings[--pending_count];
                else
                    p++;
            munmap(allocations[a].address, allocations[a].size);
            allocations[a] = allocations[--allocation_count];
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
}

EXPORT int aclFinalize(void)
{
    if (page == NULL || owner != getpid())
        return failed(UNINITIALIZED, "aclInit has not been called");
    if (finalized)
        return failed(REPEAT_FINALIZE, "aclFinalize has been called before");
    pthread_mutex_lock(&guard);
    for (unsigned n = 0; n < device_count; n++)
        forget(n);
    finalized = true;
    current = -1;
    pthread_mutex_unlock(&guard);
    return OK;
}

static int health(unsigned number)
{
    uint32_t faults = page->closed ? FAULT_LOST : device_of(number)->faults;
    return faults & FAULT_LOST ? failed(LOST_HEARTBEAT, "the device has lost its heartbeat")
         : faults & FAULT_ECC_UNCORRECTED ? failed(HBM_ECC, "HBM multi-bit ECC error")
         : faults & FAULT_TIMEOUT ? failed(AICORE_TIMEOUT, "the AI core has timed out")
         : faults & FAULT_OCCUPIED ? failed(DRIVER_INTERNAL, "the device is held by another container") : OK;
}

EXPORT const char *aclGetRecentErrMsg(void)
{
    return message[0] != 0 ? message : NULL;
}

EXPORT int aclrtGetDeviceCount(uint32_t *out)
{
    READY;
    NEEDS(out != NULL);
    *out = device_count;
    return device_count == 0 ? failed(NO_DEVICE, "no device") : OK;
}

EXPORT int aclrtSetDevice(int32_t number)
{
    READY;
    if (number < 0 || (unsigned)number >= device_count)
        return failed(RT_DEVICE, "invalid device id");
    int code = health((unsigned)number);
    if (code != OK)
        return code;
    current = number;
    node_lock(page);
    struct node_client *client = node_client(device_of((unsigned)number), getpid(), true);
    if (client != NULL && client->memory == 0)
        client->memory = 200u << 20;
    node_unlock(page);
    return OK;
}

EXPORT int aclrtResetDevice(int32_t number)
{
    READY;
    if (number < 0 || (unsigned)number >= device_count)
        return failed(RT_DEVICE, "invalid device id");
    pthread_mutex_lock(&guard);
    forget((unsigned)number);
    if (current == number)
        current = -1;
    pthread_mutex_unlock(&guard);
    return OK;
}

EXPORT int aclrtGetDevice(int32_t *out)
{
    CONTEXT;
    NEEDS(out != NULL);
    *out = current;
    return OK;
}

EXPORT const char *aclrtGetSocName(void)
{
    return aicalib_acl_ready() && device_count > 0 ? device_of(current >= 0 ? (unsigned)current : 0)->model.chip : NULL;
}

EXPORT int aclrtGetVersion(int32_t *major, int32_t *minor, int32_t *patch)
{
    NEEDS(major != NULL && minor != NULL && patch != NULL);
    *major = 1;
    *minor = 14;
    *patch = 0;
    return OK;
}

EXPORT int aclrtGetRunMode(int *out)
{
    READY;
    NEEDS(out != NULL);
    *out = 1;
    return OK;
}

/* A context is its device: handles are device number + 1. */
EXPORT int aclrtCreateContext(void **out, int32_t number)
{
    NEEDS(out != NULL);
    int code = aclrtSetDevice(number);
    if (code == OK)
        *out = (void *)(uintptr_t)(number + 1);
    return code;
}

EXPORT int aclrtSetCurrentContext(void *context)
{
    READY;
    uintptr_t value = (uintptr_t)context;
    if (value == 0 || value > device_count)
        return failed(RT_CONTEXT, "invalid context");
    current = (int)value - 1;
    return OK;
}

EXPORT int aclrtGetCurrentContext(void **out)
{
    CONTEXT;
    NEEDS(out != NULL);
    *out = (void *)(uintptr_t)(current + 1);
    return OK;
}

EXPORT int aclrtDestroyContext(void *context)
{
    READY;
    return context == NULL ? failed(RT_CONTEXT, "invalid context") : OK;
}

EXPORT int aclrtDeviceGetUuid(int32_t number, uint8_t *out)
{
    READY;
    NEEDS(out != NULL && number >= 0 && (unsigned)number < device_count);
    memcpy(out, device_of((unsigned)number)->uuid, 16);
    return OK;
}

EXPORT int aclrtGetDeviceInfo(uint32_t number, int attribute, int64_t *out)
{
    READY;
    NEEDS(out != NULL && number < device_count);
    const struct node_model *m = &device_of(number)->model;
    switch (attribute) {
    case 1: *out = 6; break;
    case 101: case 102: *out = m->cores; break;
    case 201: *out = m->vector_cores; break;
    case 301: *out = (int64_t)m->memory_bytes; break;
    case 302: *out = m->level2_bytes; break;
    case 501: *out = 0; break;
    default: return failed(INVALID_PARAMETER, "unknown attribute");
    }
    return OK;
}

EXPORT int aclGetDeviceCapability(uint32_t number, int what, int64_t *out)
{
    static const int attributes[] = { 101, 201, 302 };
    NEEDS(what >= 0 && what <= 2);
    return aclrtGetDeviceInfo(number, attributes[what], out);
}

typedef struct { int32_t cube, vector, aicpu, memory; void *extension; } Utilization;

EXPORT int aclrtGetDeviceUtilizationRate(int32_t number, Utilization *out)
{
    READY;
    NEEDS(out != NULL && number >= 0 && (unsigned)number < device_count);
    node_lock(page);
    int32_t busy = (int32_t)lround(100 * device_of((unsigned)number)->shown_busy);
    node_unlock(page);
    out->cube = busy;
    out->vector = busy / 5;
    out->aicpu = out->memory = 0;
    return OK;
}

/* Streams and events */

static uint64_t id_of(const void *stream)
{
    return stream == NULL ? 0 : ((const struct stream *)stream)->id;
}

static int wait_for(unsigned number, uint64_t stream, bool any, int64_t limit_ns)
{
    int64_t begin = node_present(page);
    for (;;) {
        node_lock(page);
        bool pending = node_pending(device_of(number), getpid(), stream, any);
        node_unlock(page);
        int code = health(number);
        if (code != OK || !pending)
            return code;
        if (limit_ns >= 0 && node_present(page) - begin > limit_ns)
            return failed(SYNC_TIMEOUT, "the stream has not finished in time");
        node_nap(page);
    }
}

EXPORT int aclrtCreateStreamWithConfig(void **out, uint32_t priority, uint32_t flags)
{
    (void)priority;
    (void)flags;
    CONTEXT;
    NEEDS(out != NULL);
    struct stream *made = malloc(sizeof *made);
    if (made == NULL)
        return failed(200000, "out of host memory");
    made->device = (unsigned)current;
    made->id = __atomic_add_fetch(&stream_ids, 1, __ATOMIC_RELAXED);
    *out = made;
    return OK;
}

EXPORT int aclrtCreateStream(void **out)
{
    return aclrtCreateStreamWithConfig(out, 0, 0);
}

EXPORT int aclrtDestroyStream(void *stream)
{
    READY;
    NEEDS(stream != NULL);
    free(stream);
    return OK;
}

EXPORT int aclrtSynchronizeStream(void *stream)
{
    CONTEXT;
    return wait_for((unsigned)current, id_of(stream), false, -1);
}

EXPORT int aclrtSynchronizeStreamWithTimeout(void *stream, int32_t milliseconds)
{
    CONTEXT;
    return wait_for((unsigned)current, id_of(stream), false, milliseconds < 0 ? -1 : milliseconds * 1000000LL);
}

EXPORT int aclrtSynchronizeDevice(void)
{
    CONTEXT;
    return wait_for((unsigned)current, 0, true, -1);
}

EXPORT int aclrtCreateEventWithFlag(void **out, uint32_t flags)
{
    CONTEXT;
    NEEDS(out != NULL);
    struct event *made = calloc(1, sizeof *made);
    if (made == NULL)
        return failed(200000, "out of host memory");
    made->device = (unsigned)current;
    made->timed = (flags & 8) != 0;
    node_lock(page);
    made->slot = node_event_new(device_of((unsigned)current), getpid());
    node_unlock(page);
    if (made->slot < 0) {
        free(made);
        return failed(300000, "no event is left");
    }
    *out = made;
    return OK;
}

EXPORT int aclrtCreateEvent(void **out)
{
    return aclrtCreateEventWithFlag(out, 8 | 1);
}

EXPORT int aclrtDestroyEvent(void *event)
{
    READY;
    NEEDS(event != NULL);
    struct event *e = event;
    node_lock(page);
    if (device_of(e->device)->events[e->slot].pid == getpid())
        device_of(e->device)->events[e->slot].state = 0;
    node_unlock(page);
    free(e);
    return OK;
}

EXPORT int aclrtRecordEvent(void *event, void *stream)
{
    CONTEXT;
    NEEDS(event != NULL);
    struct event *e = event;
    NEEDS(e->device == (unsigned)current);
    node_lock(page);
    node_event_record(page, device_of(e->device), e->slot, getpid(), id_of(stream));
    node_unlock(page);
    e->recorded = true;
    return OK;
}

static struct node_event look(const struct event *e)
{
    node_lock(page);
    struct node_event found = device_of(e->device)->events[e->slot];
    node_unlock(page);
    return found;
}

EXPORT int aclrtQueryEventStatus(void *event, int *out)
{
    CONTEXT;
    NEEDS(event != NULL && out != NULL);
    *out = look(event).state == 3 ? 1 : 0;
    return OK;
}

EXPORT int aclrtSynchronizeEvent(void *event)
{
    CONTEXT;
    NEEDS(event != NULL);
    const struct event *e = event;
    if (!e->recorded)
        return failed(EVENT_NOT_RECORDED, "the event has not been recorded");
    for (;;) {
        uint32_t state = look(e).state;
        int code = health(e->device);
        if (code != OK || state != 2)
            return code;
        node_nap(page);
    }
}

EXPORT int aclrtEventElapsedTime(float *out, void *start, void *end)
{
    CONTEXT;
    NEEDS(out != NULL && start != NULL && end != NULL);
    const struct event *a = start, *b = end;
    NEEDS(a->timed && b->timed);
    struct node_event from = look(a), to = look(b);
    if (from.state != 3 || to.state != 3)
        return failed(EVENT_NOT_RECORDED, "an event has no time stamp");
    if (to.time_ns < from.time_ns)
        return failed(EVENT_REVERSED, "the end is before the start");
    *out = (float)((double)(to.time_ns - from.time_ns) * 1e-6 / node_pace(page));
    return OK;
}

EXPORT int aclrtEventGetTimestamp(void *event, uint64_t *out)
{
    CONTEXT;
    NEEDS(event != NULL && out != NULL);
    struct node_event e = look(event);
    if (e.state != 3)
        return failed(EVENT_NOT_RECORDED, "the event has no time stamp");
    *out = (uint64_t)((double)e.time_ns / 1000 / node_pace(page));
    return OK;
}

EXPORT int aclrtStreamWaitEvent(void *stream, void *event)
{
    (void)stream;
    CONTEXT;
    NEEDS(event != NULL);
    return OK; /* a device carries all its work out in order */
}

/* Products, when they are read */

static size_t width(int type)
{
    switch (type) {
    case ACL_FLOAT: case ACL_INT32: return 4;
    case ACL_FLOAT16: case ACL_BF16: return 2;
    case ACL_INT8: case ACL_UINT8: case ACL_BOOL: return 1;
    case ACL_INT64: case ACL_DOUBLE: case 16: return 8;
    default: return 0;
    }
}

EXPORT size_t aclDataTypeSize(int type)
{
    return width(type);
}

EXPORT uint16_t aclFloatToFloat16(float value)
{
    return (uint16_t)number_encode((double)value, 5, 10);
}

EXPORT float aclFloat16ToFloat(uint16_t bits)
{
    return (float)number_decode(bits, 5, 10, false);
}

static uint8_t *element(const struct acl_matrix *m, int64_t row, int64_t column)
{
    return (uint8_t *)(uintptr_t)(m->data + (row * m->row_stride + column * m->column_stride) * (int64_t)width(m->type));
}

static float halves[65536];

static void fill_halves(void)
{
    for (uint32_t bits = 0; bits < 65536; bits++)
        halves[bits] = (float)number_decode(bits, 5, 10, false);
}

static double value_of(const struct acl_matrix *m, int64_t row, int64_t column, enum acl_math math)
{
    uint16_t half;
    float single;
    if (m->type != ACL_FLOAT) {
        memcpy(&half, element(m, row, column), 2);
        if (m->type == ACL_FLOAT16)
            return halves[half];
        uint32_t bits = (uint32_t)half << 16;
        memcpy(&single, &bits, 4);
        return single;
    }
    memcpy(&single, element(m, row, column), 4);
    if (math == MATH_FP16)
        return number_decode(number_encode((double)single, 5, 10), 5, 10, false);
    if (math == MATH_HF32)
        return number_decode(number_encode((double)single, 8, 11), 8, 11, false);
    return (double)single;
}

static void put(const struct acl_matrix *m, int64_t row, int64_t column, double value)
{
    if (m->type == ACL_FLOAT) {
        float single = (float)value;
        memcpy(element(m, row, column), &single, 4);
    } else {
        uint16_t half = (uint16_t)(m->type == ACL_FLOAT16 ? number_encode(value, 5, 10) : number_encode(value, 8, 7));
        memcpy(element(m, row, column), &half, 2);
    }
}

/* First byte and byte behind the last of what a matrix covers. */
static void extent(const struct acl_matrix *m, const uint8_t **from, const uint8_t **to)
{
    *from = m->data;
    *to = element(m, m->rows - 1, m->columns - 1) + width(m->type);
}

static bool overlaps(const struct acl_matrix *m, const uint8_t *from, const uint8_t *to)
{
    const uint8_t *begin, *end;
    extent(m, &begin, &end);
    return begin < to && from < end;
}

/* Compute the elements of a product that lie in [from, to), all of them if it is NULL; what costs too much becomes NaN. */
static void compute(const struct pending *p, const uint8_t *from, const uint8_t *to)
{
    const struct acl_matrix *a = &p->work.a, *b = &p->work.b, *c = &p->work.c;
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, fill_halves);
    uint64_t left = PRODUCTS;
    double *row = malloc((size_t)a->columns * sizeof *row), *other = NULL;
    bool whole = (uint64_t)c->rows * (uint64_t)c->columns <= PRODUCTS / (uint64_t)a->columns;
    if (whole)
        other = malloc((size_t)b->rows * (size_t)b->columns * sizeof *other);
    for (int64_t j = 0; other != NULL && j < b->columns; j++)
        for (int64_t k = 0; k < b->rows; k++)
            other[j * b->rows + k] = value_of(b, k, j, p->work.math);
    for (int64_t i = 0; i < c->rows; i++) {
        const uint8_t *first = element(c, i, 0), *last = element(c, i, c->columns - 1);
        if (!whole && from != NULL && (last < from || first >= to))
            continue;
        for (int64_t k = 0; row != NULL && k < a->columns; k++)
            row[k] = value_of(a, i, k, p->work.math);
        for (int64_t j = 0; j < c->columns; j++) {
            const uint8_t *at = element(c, i, j);
            if (!whole && from != NULL && (at < from || at >= to))
                continue;
            double sum = 0;
            if (row == NULL || left < (uint64_t)a->columns) {
                sum = NAN;
            } else {
                left -= (uint64_t)a->columns;
                for (int64_t k = 0; k < a->columns; k++)
                    sum += row[k] * (other != NULL ? other[j * b->rows + k] : value_of(b, k, j, p->work.math));
                if (p->wrong)
                    sum = 1.25 * sum + 1;
            }
            put(c, i, j, sum);
        }
    }
    free(row);
    free(other);
}

static bool small(const struct pending *p)
{
    return (uint64_t)p->work.c.rows * (uint64_t)p->work.c.columns <= PRODUCTS / (uint64_t)p->work.a.columns;
}

/* Unmap what has been freed, but not yet what products are made of that somebody may still read: on a device they were
 * computed before the memory was given back. */
static void sweep(void) /* with the guard */
{
    for (size_t a = 0; a < allocation_count;) {
        const uint8_t *from = allocations[a].address, *to = from + allocations[a].size;
        bool needed = !allocations[a].freed;
        for (size_t p = 0; p < pending_count && !needed; p++)
            needed = overlaps(&pendings[p].work.a, from, to) || overlaps(&pendings[p].work.b, from, to);
        if (needed) {
            a++;
            continue;
        }
        munmap(allocations[a].address, allocations[a].size);
        allocations[a] = allocations[--allocation_count];
    }
}

/* Somebody reads, or changes, [from, to): products that lie there, or are made of what lies there, must be settled. */
static void settle(const void *address, size_t size, bool changes) /* with the guard */
{
    const uint8_t *from = address, *to = from + size;
    size_t before = pending_count;
    for (size_t p = 0; p < pending_count;) {
        struct pending *one = &pendings[p];
        bool shown = overlaps(&one->work.c, from, to);
        bool source = changes && (overlaps(&one->work.a, from, to) || overlaps(&one->work.b, from, to));
        const uint8_t *begin, *end;
        extent(&one->work.c, &begin, &end);
        bool covered = changes && from <= begin && to >= end;
        if (covered && !source) { /* overwritten before anybody looked */
            pendings[p] = pendings[--pending_count];
            continue;
        }
        if (!shown && !source) {
            p++;
            continue;
        }
        bool all = small(one) || changes; /* its sources change: now or never */
        compute(one, all ? NULL : from, to);
        if (all)
            pendings[p] = pendings[--pending_count];
        else
            p++;
    }
    if (pending_count < before)
        sweep();
}

EXPORT bool aicalib_acl_reachable(const void *address, uint64_t size)
{
    const uint8_t *from = address;
    bool found = false;
    pthread_mutex_lock(&guard);
    for (size_t a = 0; a < allocation_count && !found; a++)
        found = !allocations[a].freed && from >= allocations[a].address && size <= allocations[a].size &&
                (uint64_t)(from - allocations[a].address) <= allocations[a].size - size;
    pthread_mutex_unlock(&guard);
    return found;
}

static int submit(unsigned number, struct node_work *work)
{
    work->pid = getpid();
    work->delay *= node_pace(page);
    work->cycles *= node_pace(page);
    for (;;) {
        int code = health(number);
        if (code != OK)
            return code;
        node_lock(page);
        struct node_device *d = device_of(number);
        bool room = !node_full(d) && !page->closed;
        if (room)
            node_submit(page, d, work);
        node_unlock(page);
        if (room)
            return OK;
        node_nap(page);
    }
}

EXPORT int aicalib_acl_matmul(const struct acl_executor *e, void *stream)
{
    CONTEXT;
    unsigned number = (unsigned)current;
    const struct node_model *m = &device_of(number)->model;
    unsigned unit = e->math == MATH_HF32 ? UNIT_MATRIX_TF32 : e->math == MATH_FP16 || e->a.type == ACL_FLOAT16 ? UNIT_MATRIX_FP16
                  : e->a.type == ACL_BF16 ? UNIT_MATRIX_BF16 : UNIT_MATRIX_FP32;
    double rows = (double)e->c.rows, columns = (double)e->c.columns, depth = (double)e->a.columns;
    double tiles = ceil(rows / 128) * ceil(columns / 128), used = fmin(tiles, m->cores);
    double waves = ceil(tiles / m->cores);
    struct node_work work = {
        .stream = id_of(stream), .delay = LAUNCH_SECONDS,
        .cycles = waves * 2 * 128 * 128 * ceil(depth / 16) * 16 / m->rate[unit],
        .intensity = m->intensity[unit] * used / m->cores,
    };
    work.operations[unit] = 2 * rows * columns * depth;
    int code = submit(number, &work);
    if (code != OK)
        return code;
    pthread_mutex_lock(&guard);
    const uint8_t *from, *to;
    const struct acl_matrix *sources[] = { &e->a, &e->b };
    for (unsigned s = 0; s < 2; s++) {
        extent(sources[s], &from, &to);
        settle(from, (size_t)(to - from), false);
    }
    extent(&e->c, &from, &to);
    settle(from, (size_t)(to - from), true);
    if (pending_count == pending_room) {
        size_t room = pending_room ? 2 * pending_room : 16;
        struct pending *more = realloc(pendings, room * sizeof *more);
        if (more == NULL) {
            pthread_mutex_unlock(&guard);
            return failed(200000, "out of host memory");
        }
        pendings = more;
        pending_room = room;
    }
    pendings[pending_count++] = (struct pending){ *e, (device_of(number)->faults & FAULT_WRONG_RESULT) != 0 };
    pthread_mutex_unlock(&guard);
    return OK;
}

/* Memory */

EXPORT int aclrtMalloc(void **out, size_t size, int policy)
{
    (void)policy;
    CONTEXT;
    NEEDS(out != NULL && size > 0);
    size_t whole = (size + 32 + 511) / 512 * 512;
    struct node_device *d = device_of((unsigned)current);
    int code = OK;
    pthread_mutex_lock(&guard);
    node_lock(page);
    struct node_client *client = node_client(d, getpid(), true);
    if (client == NULL || node_memory_used(d) + whole > d->model.memory_bytes)
        code = failed(DEVICE_MEMORY, "the device is out of memory");
    node_unlock(page);
    if (code == OK && allocation_count == allocation_room) {
        size_t room = allocation_room ? 2 * allocation_room : 32;
        struct allocation *more = realloc(allocations, room * sizeof *more);
        if (more == NULL) {
            code = failed(200000, "out of host memory");
        } else {
            allocations = more;
            allocation_room = room;
        }
    }
    if (code == OK) {
        void *memory = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED) {
            code = failed(DEVICE_MEMORY, "the host is out of memory");
        } else {
            allocations[allocation_count++] = (struct allocation){ memory, whole, (unsigned)current, false };
            node_lock(page);
            client->memory += whole;
            node_unlock(page);
            *out = memory;
        }
    }
    pthread_mutex_unlock(&guard);
    return code;
}

EXPORT int aclrtFree(void *address)
{
    READY;
    pthread_mutex_lock(&guard);
    int code = INVALID_PARAMETER;
    for (size_t a = 0; a < allocation_count; a++)
        if (allocations[a].address == address && !allocations[a].freed) {
            struct allocation gone = allocations[a];
            for (size_t p = 0; p < pending_count;) /* what would have been written there is lost with it */
                if (overlaps(&pendings[p].work.c, gone.address, gone.address + gone.size))
                    pendings[p] = pendings[--pending_count];
                else
                    p++;
            node_lock(page);
            struct node_client *client = node_client(device_of(gone.device), getpid(), false);
            if (client != NULL && client->memory >= gone.size)
                client->memory -= gone.size;
            node_unlock(page);
            allocations[a].freed = true;
            sweep();
            code = OK;
            break;
        }
    pthread_mutex_unlock(&guard);
    return code == OK ? OK : failed(code, "no memory of the device begins there");
}

EXPORT int aclrtMallocHost(void **out, size_t size)
{
    READY;
    NEEDS(out != NULL && size > 0);
    *out = aligned_alloc(64, (size + 63) / 64 * 64);
    return *out == NULL ? failed(200000, "out of host memory") : OK;
}

EXPORT int aclrtFreeHost(void *address)
{
    READY;
    NEEDS(address != NULL);
    free(address);
    return OK;
}

static int copy(void *to, size_t room, const void *from, size_t size, int kind, void *stream, bool wait)
{
    CONTEXT;
    NEEDS(to != NULL && from != NULL && size <= room && kind >= 0 && kind <= 3);
    if (((kind == 1 || kind == 3) && !aicalib_acl_reachable(to, size)) || ((kind == 2 || kind == 3) && !aicalib_acl_reachable(from, size)))
        return failed(RT_PARAMETER, "the address is not the device's");
    struct node_work work = { .stream = id_of(stream), .delay = (double)size / (kind == 3 ? DEVICE_COPY_RATE : HOST_COPY_RATE) + 2e-6 };
    int code = kind == 0 ? OK : submit((unsigned)current, &work);
    if (code == OK && wait)
        code = wait_for((unsigned)current, 0, true, -1);
    if (code != OK)
        return code;
    pthread_mutex_lock(&guard);
    if (kind == 2 || kind == 3)
        settle(from, size, false);
    if (kind == 1 || kind == 3)
        settle(to, size, true);
    memmove(to, from, size);
    pthread_mutex_unlock(&guard);
    return OK;
}

EXPORT int aclrtMemcpy(void *to, size_t room, const void *from, size_t size, int kind)
{
    return copy(to, room, from, size, kind, NULL, true);
}

EXPORT int aclrtMemcpyAsync(void *to, size_t room, const void *from, size_t size, int kind, void *stream)
{
    return copy(to, room, from, size, kind, stream, false);
}

EXPORT int aclrtMemset(void *to, size_t room, int32_t value, size_t size)
{
    CONTEXT;
    NEEDS(to != NULL && size <= room && aicalib_acl_reachable(to, size));
    pthread_mutex_lock(&guard);
    settle(to, size, true);
    memset(to, value, size);
    pthread_mutex_unlock(&guard);
    return OK;
}

EXPORT int aclrtGetMemInfo(int attribute, size_t *available, size_t *total)
{
    (void)attribute;
    CONTEXT;
    NEEDS(available != NULL && total != NULL);
    node_lock(page);
    *total = device_of((unsigned)current)->model.memory_bytes;
    *available = *total - node_memory_used(device_of((unsigned)current));
    node_unlock(page);
    return OK;
}
