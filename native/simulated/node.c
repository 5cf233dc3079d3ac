/* Making, finding, mapping and locking the state page of a simulated node. */
#define _GNU_SOURCE
#include "node.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t finding = PTHREAD_MUTEX_INITIALIZER;
static char told[4096]; /* by node_use; before the environment */
static char mapped_path[4096];
static struct node_page *mapped;
static ino_t mapped_inode;

static int64_t monotonic(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t node_present(const struct node_page *page)
{
    if (page->rate == 0)
        return page->stepped_ns;
    return (int64_t)((double)(monotonic() - page->origin_ns) * page->rate);
}

/* World seconds in a second of the programs that use the node. What a library shows a program is in the program's own time,
 * so that times, rates and energies agree with the clock of its host also in a world that runs faster. */
double node_pace(const struct node_page *page)
{
    return page->rate > 0 ? page->rate : 1;
}

int node_create(const char *path, double rate, int64_t origin_ns)
{
    int file = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (file < 0)
        return -errno;
    struct node_page *page = MAP_FAILED;
    if (ftruncate(file, sizeof *page) == 0)
        page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    int error = errno;
    close(file);
    if (page == MAP_FAILED) {
        unlink(path);
        return -error;
    }
    pthread_mutexattr_t shared;
    pthread_mutexattr_init(&shared);
    pthread_mutexattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&shared, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&page->lock, &shared);
    pthread_mutexattr_destroy(&shared);
    page->version = NODE_VERSION;
    page->size = sizeof *page;
    page->rate = rate;
    page->origin_ns = origin_ns != 0 ? origin_ns : monotonic();
    page->ambient = 30;
    __atomic_store_n(&page->magic, NODE_MAGIC, __ATOMIC_RELEASE);
    munmap(page, sizeof *page);
    return 0;
}

int node_add(struct node_page *page, const char *key, const char *serial)
{
    const struct node_model *model = node_model(key);
    if (model == NULL || page->devices >= NODE_DEVICES || strncmp(serial, "SIM", 3) != 0)
        return -1;
    unsigned index = page->devices;
    struct node_device *d = &page->device[index];
    d->model = *model;
    snprintf(d->serial, sizeof d->serial, "%s", serial);
    uint64_t hash = 1469598103934665603ULL;
    for (const char *c = d->serial; *c != 0; c++)
        hash = (hash ^ (unsigned char)*c) * 1099511628211ULL;
    memcpy(d->uuid, "SIM", 3);
    d->uuid[3] = (uint8_t)index;
    for (unsigned i = 0; i < 12; i++) {
        d->uuid[4 + i] = (uint8_t)(hash >> 56);
        hash = (hash ^ i) * 1099511628211ULL;
    }
    d->pci_bus = 0x19 + index * 3;
    d->power_limit = model->power_limit;
    d->power_gain = d->energy_gain = 1;
    d->clock = model->clock_idle;
    d->thermal_clock = model->clock_max;
    d->persistence = 1;
    d->limits = LIMIT_IDLE;
    d->background_intensity = model->intensity[UNIT_MATRIX_FP16];
    d->last_busy_ns = page->time_ns - 10000000000LL;
    d->temperature = page->ambient + model->thermal_resistance * model->power_idle;
    d->memory_temperature = d->temperature + 5;
    d->shown_power = d->shown_mean_power = d->shown_instant_power = d->power = node_power(d, 0, d->clock);
    page->vendor_mask |= model->vendor;
    __atomic_store_n(&page->devices, index + 1, __ATOMIC_RELEASE);
    return (int)index;
}

struct node_page *node_open(const char *path)
{
    struct stat status;
    int file = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    if (file < 0)
        return NULL;
    struct node_page *page = MAP_FAILED;
    bool good = fstat(file, &status) == 0 && status.st_uid == geteuid() && status.st_size == (off_t)sizeof *page;
    if (good)
        page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (page == MAP_FAILED)
        return NULL;
    if (__atomic_load_n(&page->magic, __ATOMIC_ACQUIRE) != NODE_MAGIC || page->version != NODE_VERSION ||
        page->size != sizeof *page) {
        munmap(page, sizeof *page);
        return NULL;
    }
    return page;
}

void node_use(const char *path)
{
    pthread_mutex_lock(&finding);
    snprintf(told, sizeof told, "%s", path == NULL ? "" : path);
    pthread_mutex_unlock(&finding);
}

/* AICALIB_SIMULATED_PROFILE=nvidia-h100 or nvidia-h100*2: a node of its own, shared by this user's processes. */
static bool from_profile(const char *profile, char *path, size_t size)
{
    char key[32], serial[32];
    unsigned count = 8;
    const char *star = strchr(profile, '*');
    size_t length = star != NULL ? (size_t)(star - profile) : strlen(profile);
    if (length >= sizeof key || (star != NULL && (sscanf(star + 1, "%u", &count) != 1 || count < 1 || count > NODE_DEVICES)))
        return false;
    memcpy(key, profile, length);
    key[length] = 0;
    if (node_model(key) == NULL)
        return false;
    snprintf(path, size, "/dev/shm/aicalib-simulated-%u-%s-%u-v%u.%zu", (unsigned)geteuid(), key, count, NODE_VERSION, sizeof(struct node_page));
    struct node_page *page = node_open(path);
    if (page != NULL) {
        munmap(page, sizeof *page);
        return true;
    }
    char made[4200];
    snprintf(made, sizeof made, "%s.%d", path, (int)getpid());
    if (node_create(made, 1, 0) != 0)
        return false;
    page = node_open(made);
    for (unsigned i = 0; page != NULL && i < count; i++) {
        snprintf(serial, sizeof serial, "SIM%010u", i + 1);
        node_add(page, key, serial);
    }
    if (page != NULL)
        munmap(page, sizeof *page);
    bool linked = link(made, path) == 0 || errno == EEXIST; /* whoever comes first makes it for all */
    unlink(made);
    return linked;
}

struct node_page *node_find(void)
{
    char path[4096] = "";
    struct stat status;
    pthread_mutex_lock(&finding);
    const char *named = getenv("AICALIB_SIMULATED_NODE"), *profile = getenv("AICALIB_SIMULATED_PROFILE");
    if (told[0] != 0)
        snprintf(path, sizeof path, "%s", told);
    else if (named != NULL && named[0] != 0)
        snprintf(path, sizeof path, "%s", named);
    else if (profile != NULL && !from_profile(profile, path, sizeof path))
        path[0] = 0;
    if (path[0] == 0 || stat(path, &status) != 0) {
        mapped = NULL; /* an old mapping may still be in use by another thread, so it is left alone */
    } else if (mapped == NULL || strcmp(path, mapped_path) != 0 || status.st_ino != mapped_inode) {
        mapped = node_open(path);
        mapped_inode = status.st_ino;
        memcpy(mapped_path, path, sizeof path);
    }
    struct node_page *page = mapped != NULL && !mapped->closed ? mapped : NULL;
    pthread_mutex_unlock(&finding);
    return page;
}

void node_lock(struct node_page *page)
{
    if (pthread_mutex_lock(&page->lock) == EOWNERDEAD)
        pthread_mutex_consistent(&page->lock); /* every step leaves the page usable; at worst one step is lost */
    if (!page->closed)
        node_advance(page, node_present(page));
}

void node_unlock(struct node_page *page)
{
    pthread_mutex_unlock(&page->lock);
}

/* Between two looks at work that is not done: real time passes, or on a stepped clock the waiting moves it. */
void node_nap(struct node_page *page)
{
    if (page->rate == 0)
        __atomic_add_fetch(&page->stepped_ns, NODE_STEP_NS / 10, __ATOMIC_ACQ_REL);
    else
        nanosleep(&(struct timespec){ .tv_nsec = 300000 }, NULL);
}
