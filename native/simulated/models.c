/* The device models that a simulated node can hold.
 *
 * Rates are dense operations a clock and core by compute capability or by the maker's platform tables; data sheets
 * agree with them by arithmetic (132 x 4096 x 1.83 GHz = 989 TFLOP/s for the H100). Assumed, because no maker states
 * them: idle power, the share of each unit in the dynamic power, heat resistance and time constant, and that fp32 and
 * hf32 of an Ascend 910B's cube run at a quarter and at half of its fp16 rate. */
#include "node.h"

#include <string.h>

#define MHZ 1e6
#define GIB (1ULL << 30)

#define NVIDIA_INTENSITY \
    .intensity = { [UNIT_FP64] = 0.80, [UNIT_FP32] = 0.72, [UNIT_FP16] = 0.66, [UNIT_BF16] = 0.66, [UNIT_INTEGER] = 0.5, \
        [UNIT_SPECIAL] = 0.45, [UNIT_MEMORY] = 0.6, [UNIT_MATRIX_FP64] = 0.95, [UNIT_MATRIX_TF32] = 1.0, \
        [UNIT_MATRIX_FP16] = 1.0, [UNIT_MATRIX_BF16] = 1.0, [UNIT_MATRIX_FP32] = 1.0, [UNIT_MATRIX_INT8] = 0.95, \
        [UNIT_MATRIX_FP8] = 0.95 }

#define ASCEND_INTENSITY \
    .intensity = { [UNIT_FP32] = 0.5, [UNIT_FP16] = 0.5, [UNIT_BF16] = 0.5, [UNIT_INTEGER] = 0.4, [UNIT_SPECIAL] = 0.4, \
        [UNIT_MEMORY] = 0.5, [UNIT_MATRIX_TF32] = 0.95, [UNIT_MATRIX_FP16] = 1.0, [UNIT_MATRIX_BF16] = 1.0, \
        [UNIT_MATRIX_FP32] = 0.9, [UNIT_MATRIX_INT8] = 0.95 }

#define HOPPER(gib, name, board, device, clock_of_memory, bus) \
    .product = name, .part = board, .vendor = VENDOR_NVIDIA, .cores = 132, .lanes = 128, .capability_major = 9, \
    .architecture = 9, .bus_width = bus, .threads_per_core = 2048, .shared_per_core = 233472, \
    .shared_per_block = 232448, .level2_bytes = 50u << 20, .pci_device = device, .links = 18, \
    .memory_bytes = (gib) * GIB, .clock_idle = 345 * MHZ, .clock_max = 1980 * MHZ, .clock_step = 15 * MHZ, \
    .memory_clock = clock_of_memory, .power_idle = 72, .power_full = 810, .power_limit = 700, \
    .power_limit_min = 200, .power_limit_max = 700, .thermal_resistance = 0.055, .time_constant = 14, \
    .temperature_soft = 87, .temperature_hard = 89, .temperature_shutdown = 92, .mean_window = 1, .exponent = 2.4, \
    .mma_sync = 0.62, NVIDIA_INTENSITY, \
    .rate = { [UNIT_FP64] = 128, [UNIT_FP32] = 256, [UNIT_FP16] = 512, [UNIT_BF16] = 512, [UNIT_INTEGER] = 64, \
        [UNIT_SPECIAL] = 16, [UNIT_MEMORY] = 32, [UNIT_MATRIX_FP64] = 256, [UNIT_MATRIX_TF32] = 2048, \
        [UNIT_MATRIX_FP16] = 4096, [UNIT_MATRIX_BF16] = 4096, [UNIT_MATRIX_INT8] = 8192, [UNIT_MATRIX_FP8] = 8192 }

#define ASCEND_910B(name, number_of_cores, cube, gib) \
    .product = name, .chip = "Ascend" name, .part = "Atlas 800T A2", .vendor = VENDOR_ASCEND, \
    .cores = number_of_cores, .vector_cores = 2 * (number_of_cores), .pci_device = 0xd802, \
    .memory_bytes = (gib) * GIB, .level2_bytes = 192u << 20, .clock_idle = 800 * MHZ, .clock_max = (cube) * MHZ, \
    .clock_step = 50 * MHZ, .memory_clock = 1600 * MHZ, .power_idle = 90, .power_full = 385, .power_limit = 400, \
    .power_limit_min = 150, .power_limit_max = 600, .thermal_resistance = 0.09, .time_constant = 18, \
    .temperature_soft = 95, .temperature_hard = 105, .temperature_shutdown = 115, .mean_window = 0, .exponent = 2.4, \
    .mma_sync = 1, ASCEND_INTENSITY, \
    .rate = { [UNIT_FP32] = 256, [UNIT_FP16] = 512, [UNIT_BF16] = 256, [UNIT_INTEGER] = 128, [UNIT_SPECIAL] = 32, \
        [UNIT_MEMORY] = 64, [UNIT_MATRIX_TF32] = 4096, [UNIT_MATRIX_FP16] = 8192, [UNIT_MATRIX_BF16] = 8192, \
        [UNIT_MATRIX_FP32] = 2048, [UNIT_MATRIX_INT8] = 16384 }

static const struct node_model MODELS[] = {
    { .key = "nvidia-h100", HOPPER(80, "NVIDIA H100 80GB HBM3", "692-2G520-0200-000", 0x2330, 2619 * MHZ, 5120) },
    { .key = "nvidia-h200", HOPPER(141, "NVIDIA H200", "692-2G520-0205-000", 0x2335, 3201 * MHZ, 6144) },
    { .key = "nvidia-a100", .product = "NVIDIA A100-SXM4-80GB", .part = "692-2G506-0212-002", .vendor = VENDOR_NVIDIA,
      .cores = 108, .lanes = 64, .capability_major = 8, .architecture = 7, .bus_width = 5120, .threads_per_core = 2048,
      .shared_per_core = 167936, .shared_per_block = 166912, .level2_bytes = 40u << 20, .pci_device = 0x20b2,
      .links = 12, .memory_bytes = 80 * GIB, .clock_idle = 210 * MHZ, .clock_max = 1410 * MHZ, .clock_step = 15 * MHZ,
      .memory_clock = 1593 * MHZ, .power_idle = 58, .power_full = 430, .power_limit = 400, .power_limit_min = 100,
      .power_limit_max = 400, .thermal_resistance = 0.085, .time_constant = 14, .temperature_soft = 85,
      .temperature_hard = 92, .temperature_shutdown = 95, .mean_window = 0, .exponent = 2.4, .mma_sync = 1,
      NVIDIA_INTENSITY,
      .rate = { [UNIT_FP64] = 64, [UNIT_FP32] = 128, [UNIT_FP16] = 512, [UNIT_BF16] = 256, [UNIT_INTEGER] = 64,
          [UNIT_SPECIAL] = 16, [UNIT_MEMORY] = 32, [UNIT_MATRIX_FP64] = 128, [UNIT_MATRIX_TF32] = 1024,
          [UNIT_MATRIX_FP16] = 2048, [UNIT_MATRIX_BF16] = 2048, [UNIT_MATRIX_INT8] = 4096 } },
    { .key = "ascend-910b", ASCEND_910B("910B3", 20, 1800, 64) },
    { .key = "ascend-910b1", ASCEND_910B("910B1", 24, 1850, 64) },
    { .key = "ascend-910b2", ASCEND_910B("910B2", 24, 1800, 64) },
    { .key = "ascend-910b4", ASCEND_910B("910B4", 20, 1500, 32) },
    { .key = "ascend-910", .product = "910A", .chip = "Ascend910A", .part = "Atlas 900", .vendor = VENDOR_ASCEND,
      .cores = 32, .pci_device = 0xd801, .memory_bytes = 32 * GIB, .level2_bytes = 32u << 20, .clock_idle = 500 * MHZ,
      .clock_max = 1000 * MHZ, .clock_step = 50 * MHZ, .memory_clock = 1200 * MHZ, .power_idle = 70, .power_full = 310,
      .power_limit = 310, .power_limit_min = 150, .power_limit_max = 600, .thermal_resistance = 0.12,
      .time_constant = 18, .temperature_soft = 95, .temperature_hard = 105, .temperature_shutdown = 115,
      .mean_window = 0, .exponent = 2.4, .mma_sync = 1, ASCEND_INTENSITY,
      .rate = { [UNIT_FP32] = 128, [UNIT_FP16] = 256, [UNIT_INTEGER] = 128, [UNIT_SPECIAL] = 32, [UNIT_MEMORY] = 64,
          [UNIT_MATRIX_FP16] = 8192, [UNIT_MATRIX_INT8] = 16384 } },
};

const char *node_model_key(unsigned index)
{
    return index < sizeof MODELS / sizeof MODELS[0] ? MODELS[index].key : NULL;
}

const struct node_model *node_model(const char *key)
{
    for (unsigned i = 0; i < sizeof MODELS / sizeof MODELS[0]; i++)
        if (strcmp(MODELS[i].key, key) == 0)
            return &MODELS[i];
    return NULL;
}
