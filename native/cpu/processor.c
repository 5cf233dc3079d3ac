/* What the processor is and has. It is asked once: under a hypervisor, each CPUID costs microseconds. */
#include "../include/aicalib_native.h"
#include "kernel.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define KNOWN (1u << 31)
#define WITHHELD_SHIFT 16 /* an instruction set that is withheld has its bit so much higher */

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

static int has_bit(uint32_t word, int bit)
{
    return (word >> bit & 1u) != 0;
}

/* Linux, from 5.16 on, saves the 8 KiB of tiles for processes that asked it to; one that did not is killed by the first
 * use. What it grants holds for all threads. It refuses where a thread has a signal stack too small to save tiles on. */
static int may_use_tiles(uint32_t saved)
{
    enum { TILE_CONFIGURATION_AND_DATA = 3 << 17, TILE_DATA = 18, ARCH_REQ_XCOMP_PERM = 0x1023 };
    if ((saved & TILE_CONFIGURATION_AND_DATA) != TILE_CONFIGURATION_AND_DATA)
        return 0;
#if defined(__linux__)
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA) == 0;
#else
    return 0;
#endif
}

static uint32_t ask(void)
{
    uint32_t a, b, c, d, found = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !has_bit(c, 27)) /* OSXSAVE: XGETBV may be used */
        return 0;
    const int fma = has_bit(c, 12);
    uint32_t saved, saved_high;
    __asm__ volatile("xgetbv" : "=a"(saved), "=d"(saved_high) : "c"(0));
    const int ymm_saved = (saved & 0x06u) == 0x06u, zmm_saved = (saved & 0xe6u) == 0xe6u;
    uint32_t b7, c7, d7, a71 = 0;
    if (!__get_cpuid_count(7, 0, &a, &b7, &c7, &d7))
        return 0;
    if (a >= 1 && __get_cpuid_count(7, 1, &a71, &b, &c, &d) == 0)
        a71 = 0;
    if (ymm_saved && fma && has_bit(b7, 5)) {
        found |= AICALIB_HAS_AVX2;
        if (has_bit(a71, 4))
            found |= AICALIB_HAS_AVX_VNNI;
    }
    if (zmm_saved && has_bit(b7, 16)) {
        found |= AICALIB_HAS_AVX512;
        if (has_bit(c7, 11))
            found |= AICALIB_HAS_AVX512_VNNI;
        if (has_bit(a71, 5))
            found |= AICALIB_HAS_AVX512_BF16;
    }
    if (has_bit(d7, 24)) { /* AMX-TILE */
        const uint32_t units =
            (has_bit(d7, 22) ? AICALIB_HAS_AMX_BF16 : 0u) | (has_bit(d7, 25) ? AICALIB_HAS_AMX_INT8 : 0u);
        found |= may_use_tiles(saved) ? units : units << WITHHELD_SHIFT;
    }
    return found;
}

static void identify(aicalib_processor *processor)
{
    uint32_t a, b, c, d, highest = 0;
    if (__get_cpuid(0, &highest, &b, &c, &d)) {
        memcpy(processor->vendor, &b, 4);
        memcpy(processor->vendor + 4, &d, 4);
        memcpy(processor->vendor + 8, &c, 4);
    }
    if (__get_cpuid(1, &a, &b, &c, &d)) {
        const uint32_t family = a >> 8 & 0xfu;
        processor->family = (int32_t)(family == 0xfu ? family + (a >> 20 & 0xffu) : family);
        processor->model = (int32_t)((a >> 4 & 0xfu) | (family == 6 || family == 0xfu ? a >> 12 & 0xf0u : 0));
        processor->stepping = (int32_t)(a & 0xfu);
        processor->hypervisor = has_bit(c, 31);
    }
    for (uint32_t part = 0; part < 3; part++) {
        if (__get_cpuid(0x80000002u + part, &a, &b, &c, &d)) {
            const uint32_t words[4] = {a, b, c, d};
            memcpy(processor->brand + 16 * part, words, sizeof words);
        }
    }
    if (highest >= 0x16 && __get_cpuid(0x16, &a, &b, &c, &d)) {
        processor->base_mhz = (int32_t)(a & 0xffffu);
        processor->maximum_mhz = (int32_t)(b & 0xffffu);
    }
}

#elif defined(__aarch64__)
#if defined(__linux__)
#include <sys/auxv.h>
#endif

static uint32_t ask(void)
{
    uint32_t found = AICALIB_HAS_NEON;
#if defined(__linux__)
    const unsigned long first = getauxval(AT_HWCAP), second = getauxval(AT_HWCAP2);
    if (first >> 20 & 1u) /* HWCAP_ASIMDDP */
        found |= AICALIB_HAS_NEON_DOTPROD;
    if (first >> 22 & 1u) { /* HWCAP_SVE: the system saves its registers too */
        found |= AICALIB_HAS_SVE;
        if (second >> 12 & 1u) /* HWCAP2_SVEBF16 */
            found |= AICALIB_HAS_SVE_BF16;
    }
#elif defined(__APPLE__)
    found |= AICALIB_HAS_NEON_DOTPROD; /* every Apple processor that runs macOS has it */
#endif
    return found;
}

static void identify(aicalib_processor *processor)
{
    (void)processor; /* the registers that tell are the operating system's; Python reads what it shows of them */
}

#else

static uint32_t ask(void)
{
    return 0;
}

static void identify(aicalib_processor *processor)
{
    (void)processor;
}

#endif

uint32_t aicalib_features(void)
{
    static _Atomic uint32_t answer;
    uint32_t features = atomic_load_explicit(&answer, memory_order_relaxed);
    if (features == 0) {
        features = ask() | KNOWN;
        atomic_store_explicit(&answer, features, memory_order_relaxed);
    }
    return features;
}

/* Those that the processor has and the operating system does not let this process use. */
static uint32_t withheld(void)
{
    return (aicalib_features() & ~KNOWN) >> WITHHELD_SHIFT;
}

static const struct {
    uint32_t bit;
    const char *name;
} names[] = {
    {AICALIB_HAS_AVX2, "avx2"},
    {AICALIB_HAS_AVX_VNNI, "avx-vnni"},
    {AICALIB_HAS_AVX512, "avx512"},
    {AICALIB_HAS_AVX512_BF16, "avx512-bf16"},
    {AICALIB_HAS_AVX512_VNNI, "avx512-vnni"},
    {AICALIB_HAS_AMX_BF16, "amx-bf16"},
    {AICALIB_HAS_AMX_INT8, "amx-int8"},
    {AICALIB_HAS_NEON, "neon"},
    {AICALIB_HAS_NEON_DOTPROD, "neon-dotprod"},
    {AICALIB_HAS_SVE, "sve"},
    {AICALIB_HAS_SVE_BF16, "sve-bf16"},
};

static void write_names(uint32_t features, char *text, size_t size)
{
    size_t used = 0;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (features & names[i].bit) {
            const int written = snprintf(text + used, size - used, "%s%s", used ? " " : "", names[i].name);
            used += written > 0 ? (size_t)written : 0;
        }
    }
}

void aicalib_processor_describe(aicalib_processor *processor)
{
    memset(processor, 0, sizeof *processor);
    identify(processor);
    write_names(aicalib_features(), processor->instruction_sets, sizeof processor->instruction_sets);
    write_names(withheld(), processor->withheld, sizeof processor->withheld);
}
