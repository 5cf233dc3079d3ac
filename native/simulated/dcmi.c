/* libdcmi.so of a simulated node: the Ascend devices on its state page, one NPU and one MCU a card.
 *
 * Names, argument order, structs, units and codes as the Apache-2.0 clients mind-cluster (ascend-common/devmanager)
 * and gpustack-runtime (pydcmi) declare them. There is no energy counter in this interface. */
#define _GNU_SOURCE
#include "export.h"
#include "node.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    OK = 0, INVALID_PARAMETER = -8001, NOT_PERMITTED = -8002, INNER_ERROR = -8005, TIME_OUT = -8006, INVALID_DEVICE = -8007,
    NOT_EXIST = -8008, NOT_READY = -8012, OCCUPIED = -8020, NOT_SUPPORT = -8255
};
enum { UNIT_NPU = 0, UNIT_MCU = 1 };

typedef struct { unsigned char chip_type[32], chip_name[32], chip_ver[32]; unsigned aicore_cnt; } ChipInfo;
typedef struct { unsigned char chip_type[32], chip_name[32], chip_ver[32]; unsigned aicore_cnt; unsigned char npu_name[32]; } ChipInfo2;
typedef struct { unsigned deviceid, venderid, subvenderid, subdeviceid, bdf_deviceid, bdf_busid, bdf_funcid; } PcieInfo;
typedef struct { unsigned venderid, subvenderid, deviceid, subdeviceid; int domain; unsigned bdf_busid, bdf_deviceid, bdf_funcid; unsigned char reserve[32]; } PcieInfoAll;
typedef struct { unsigned board_id, pcb_id, bom_id, slot_id; } BoardInfo;
typedef struct { char product_name[256], model[256], manufacturer[256], manufacturer_date[256], serial_number[256]; } Elabel;
typedef struct { unsigned soc_die[5]; } DieId;
typedef struct { unsigned freq, cur_freq; } AicoreInfo;
typedef struct { unsigned max_freq, cur_freq, aicpu_num, util_rate[16]; } AicpuInfo;
typedef struct { unsigned long long memory_size; unsigned freq; unsigned long long memory_usage; int temp; unsigned bandwith_util_rate; } HbmInfo;
typedef struct { unsigned long long memory_size, memory_available; unsigned freq; unsigned long hugepagesize, hugepages_total, hugepages_free; unsigned utiliza; unsigned char reserve[60]; } MemoryInfo;
typedef struct { int enable_flag; unsigned single, twice, total_single, total_double, single_isolated, double_isolated; } EccInfo;
typedef union { unsigned char uchar; unsigned short ushort; unsigned uint; int iint; signed char temp[2]; int ntc[4]; unsigned data[16]; } SensorInfo;
typedef struct { unsigned aic, aiv, aicore, npu, reserved[8]; } MultiUtilization;
typedef struct { int proc_id; unsigned long proc_mem_usage; } ProcessMemory;
typedef struct { unsigned soc_rated_power; unsigned char reserved[32]; } LowPowerInfo;

_Static_assert(sizeof(ChipInfo) == 100 && sizeof(ChipInfo2) == 132, "chip information");
_Static_assert(sizeof(PcieInfo) == 28 && sizeof(PcieInfoAll) == 64, "PCIe information");
_Static_assert(sizeof(BoardInfo) == 16 && sizeof(Elabel) == 1280 && sizeof(DieId) == 20, "labels");
_Static_assert(sizeof(AicoreInfo) == 8 && sizeof(AicpuInfo) == 76, "cores");
_Static_assert(sizeof(HbmInfo) == 32 && sizeof(MemoryInfo) == 112 && sizeof(EccInfo) == 28, "memory");
_Static_assert(sizeof(SensorInfo) == 64 && sizeof(MultiUtilization) == 48, "sensors");
_Static_assert(sizeof(ProcessMemory) == 16 && sizeof(LowPowerInfo) == 36, "processes and rated power");

static struct node_page *page;

DEFINE_USE

static int enter_page(struct node_page **p)
{
    *p = __atomic_load_n(&page, __ATOMIC_ACQUIRE);
    if (*p == NULL || (*p)->closed)
        return NOT_READY;
    return OK;
}

static int index_of(const struct node_page *p, int card)
{
    for (unsigned i = 0; i < p->devices; i++)
        if (p->device[i].model.vendor == VENDOR_ASCEND && card-- == 0)
            return (int)i;
    return -1;
}

static int count_of(const struct node_page *p)
{
    int count = 0;
    for (unsigned i = 0; i < p->devices; i++)
        count += p->device[i].model.vendor == VENDOR_ASCEND;
    return count;
}

static int enter(int card, int unit, struct node_page **p, struct node_device **d)
{
    int code = enter_page(p);
    if (code != OK)
        return code;
    int index = card < 0 ? -1 : index_of(*p, card);
    if (index < 0)
        return INVALID_DEVICE;
    if (unit < 0 || unit > 1)
        return INVALID_DEVICE;
    node_lock(*p);
    *d = &(*p)->device[index];
    uint32_t faults = (*d)->faults;
    code = faults & FAULT_LOST ? NOT_EXIST : faults & FAULT_TIMEOUT ? TIME_OUT : faults & FAULT_OCCUPIED ? OCCUPIED
         : faults & FAULT_NO_PERMISSION ? NOT_PERMITTED : OK;
    if (code != OK)
        node_unlock(*p);
    return code;
}

#define READ(out)                                          \
    struct node_page *p;                                   \
    struct node_device *d;                                 \
    if ((const void *)(out) == NULL)                       \
        return INVALID_PARAMETER;                          \
    int code = enter(card, unit, &p, &d);                  \
    if (code != OK)                                        \
        return code;
#define READ_NPU(out)       \
    READ(out)               \
    if (unit != UNIT_NPU) { \
        node_unlock(p);     \
        return NOT_SUPPORT; \
    }
#define DONE        \
    node_unlock(p); \
    return code;

static unsigned mhz(double hertz)
{
    return (unsigned)lround(hertz / 1e6);
}

static int text(char *out, unsigned length, const char *value)
{
    if (out == NULL || strlen(value) + 1 > length)
        return INVALID_PARAMETER;
    strcpy(out, value);
    return OK;
}

EXPORT int dcmi_init(void)
{
    struct node_page *found = node_find();
    if (found == NULL || !(found->vendor_mask & VENDOR_ASCEND) || (found->faults & (FAULT_NO_DRIVER | FAULT_MISMATCH)))
        return INNER_ERROR;
    for (unsigned i = 0; i < found->devices; i++)
        if (found->device[i].faults & FAULT_OCCUPIED)
            return OCCUPIED;
    __atomic_store_n(&page, found, __ATOMIC_RELEASE);
    return OK;
}

EXPORT int dcmi_get_dcmi_version(char *out, unsigned length)
{
    return text(out, length, "25.2.SIM");
}

EXPORT int dcmi_get_driver_version(char *out, unsigned length)
{
    struct node_page *p;
    int code = enter_page(&p);
    return code != OK ? code : text(out, length, "25.2.0");
}

EXPORT int dcmi_get_card_list(int *count, int *list, int length)
{
    struct node_page *p;
    int code = enter_page(&p);
    if (code != OK)
        return code;
    if (count == NULL || list == NULL || length < count_of(p))
        return INVALID_PARAMETER;
    *count = count_of(p);
    for (int i = 0; i < *count; i++)
        list[i] = i;
    return OK;
}

int dcmi_get_card_num_list(int *, int *, int) ALIAS(dcmi_get_card_list);

EXPORT int dcmi_get_device_num_in_card(int card, int *out)
{
    const int unit = 0;
    READ(out)
    *out = 1;
    DONE
}

EXPORT int dcmi_get_device_id_in_card(int card, int *most, int *mcu, int *cpu)
{
    const int unit = 0;
    READ(most == NULL || mcu == NULL ? NULL : cpu)
    *most = 1;
    *mcu = 1;
    *cpu = -1;
    DONE
}

EXPORT int dcmi_get_device_type(int card, int unit, int *out)
{
    READ(out)
    *out = unit == 0 ? UNIT_NPU : UNIT_MCU;
    DONE
}

EXPORT int dcmi_get_device_logic_id(int *out, int card, int unit)
{
    READ_NPU(out)
    *out = card;
    DONE
}

EXPORT int dcmi_get_card_id_device_id_from_logicid(int *card, int *unit, unsigned logic)
{
    struct node_page *p;
    int code = enter_page(&p);
    if (code != OK)
        return code;
    if (card == NULL || unit == NULL)
        return INVALID_PARAMETER;
    if (logic >= (unsigned)count_of(p))
        return INVALID_DEVICE;
    *card = (int)logic;
    *unit = 0;
    return OK;
}

int dcmi_get_card_id_device_id_from_phyid(int *, int *, unsigned) ALIAS(dcmi_get_card_id_device_id_from_logicid);

EXPORT int dcmi_get_device_phyid_from_logicid(unsigned logic, unsigned *out)
{
    struct node_page *p;
    int code = enter_page(&p);
    if (code != OK)
        return code;
    if (out == NULL)
        return INVALID_PARAMETER;
    if (logic >= (unsigned)count_of(p))
        return INVALID_DEVICE;
    *out = logic;
    return OK;
}

int dcmi_get_device_logicid_from_phyid(unsigned, unsigned *) ALIAS(dcmi_get_device_phyid_from_logicid);

EXPORT int dcmi_get_device_chip_info(int card, int unit, ChipInfo *out)
{
    READ_NPU(out)
    memset(out, 0, sizeof *out);
    strcpy((char *)out->chip_type, "Ascend");
    strcpy((char *)out->chip_name, d->model.product);
    strcpy((char *)out->chip_ver, "V1");
    out->aicore_cnt = d->model.cores;
    DONE
}

EXPORT int dcmi_get_device_chip_info_v2(int card, int unit, ChipInfo2 *out)
{
    READ_NPU(out)
    memset(out, 0, sizeof *out);
    strcpy((char *)out->chip_type, "Ascend");
    strcpy((char *)out->chip_name, d->model.product);
    strcpy((char *)out->chip_ver, "V1");
    strcpy((char *)out->npu_name, d->model.product);
    out->aicore_cnt = d->model.cores;
    DONE
}

EXPORT int dcmi_get_device_pcie_info(int card, int unit, PcieInfo *out)
{
    READ_NPU(out)
    *out = (PcieInfo){ d->model.pci_device, 0x19e5, 0x19e5, 0x0200, 0, d->pci_bus, 0 };
    DONE
}

EXPORT int dcmi_get_device_pcie_info_v2(int card, int unit, PcieInfoAll *out)
{
    READ_NPU(out)
    *out = (PcieInfoAll){ .venderid = 0x19e5, .subvenderid = 0x19e5, .deviceid = d->model.pci_device, .subdeviceid = 0x0200,
                          .domain = (int)d->pci_domain, .bdf_busid = d->pci_bus };
    DONE
}

EXPORT int dcmi_get_device_board_info(int card, int unit, BoardInfo *out)
{
    READ(out)
    *out = (BoardInfo){ 0x64, 1, 1, (unsigned)card };
    DONE
}

EXPORT int dcmi_get_device_elabel_info(int card, int unit, Elabel *out)
{
    READ(out)
    memset(out, 0, sizeof *out);
    snprintf(out->product_name, sizeof out->product_name, "%s", d->model.part);
    snprintf(out->model, sizeof out->model, "%s", d->model.product);
    snprintf(out->manufacturer, sizeof out->manufacturer, "Huawei");
    snprintf(out->manufacturer_date, sizeof out->manufacturer_date, "2025-01-01");
    snprintf(out->serial_number, sizeof out->serial_number, "%s", d->serial);
    DONE
}

EXPORT int dcmi_get_card_elabel_v2(int card, Elabel *out)
{
    return dcmi_get_device_elabel_info(card, 0, out);
}

EXPORT int dcmi_get_device_die_v2(int card, int unit, int type, DieId *out)
{
    READ_NPU(out)
    memset(out, 0, sizeof *out);
    if (type != 0 && type != 1) {
        code = type == 2 ? NOT_SUPPORT : INVALID_PARAMETER;
    } else {
        for (unsigned i = 0; i < 4; i++)
            out->soc_die[i] = (unsigned)d->uuid[4 * i] << 24 | (unsigned)d->uuid[4 * i + 1] << 16 |
                              (unsigned)d->uuid[4 * i + 2] << 8 | d->uuid[4 * i + 3];
        out->soc_die[4] = (unsigned)type;
    }
    DONE
}

EXPORT int dcmi_get_product_type(int card, int unit, char *out, int length)
{
    READ(out)
    code = length <= 0 ? INVALID_PARAMETER : text(out, (unsigned)length, d->model.part);
    DONE
}

EXPORT int dcmi_get_mainboard_id(int card, int unit, unsigned *out)
{
    READ(out)
    *out = 0x1;
    DONE
}

/* Tenths of a watt, as this interface has it. */
EXPORT int dcmi_get_device_power_info(int card, int unit, int *out)
{
    READ(out)
    *out = (int)lround(d->shown_power * d->power_gain * 10);
    DONE
}

EXPORT int dcmi_mcu_get_power_info(int card, int *out)
{
    return dcmi_get_device_power_info(card, UNIT_MCU, out);
}

EXPORT int dcmi_get_device_temperature(int card, int unit, int *out)
{
    READ(out)
    *out = (int)lround(d->temperature);
    DONE
}

EXPORT int dcmi_get_device_voltage(int card, int unit, unsigned *out)
{
    READ_NPU(out)
    *out = (unsigned)lround(100 * (0.72 + 0.13 * d->clock / d->model.clock_max));
    DONE
}

EXPORT int dcmi_get_device_frequency(int card, int unit, int type, unsigned *out)
{
    READ_NPU(out)
    switch (type) {
    case 2: *out = 2000; break;
    case 6: *out = mhz(d->model.memory_clock); break;
    case 7: *out = mhz(d->clock); break;
    case 9: *out = mhz(d->model.clock_max); break;
    case 12:
        *out = mhz(d->clock);
        code = d->model.vector_cores == 0 ? NOT_SUPPORT : OK;
        break;
    default: code = type == 1 ? NOT_SUPPORT : INVALID_PARAMETER;
    }
    DONE
}

EXPORT int dcmi_get_device_aicore_info(int card, int unit, AicoreInfo *out)
{
    READ_NPU(out)
    *out = (AicoreInfo){ mhz(d->model.clock_max), mhz(d->clock) };
    DONE
}

EXPORT int dcmi_get_device_aicpu_info(int card, int unit, AicpuInfo *out)
{
    READ_NPU(out)
    *out = (AicpuInfo){ .max_freq = 2000, .cur_freq = 2000, .aicpu_num = 6 };
    DONE
}

static unsigned percent(const struct node_device *d)
{
    return (unsigned)lround(100 * d->shown_busy);
}

EXPORT int dcmi_get_device_utilization_rate(int card, int unit, int type, unsigned *out)
{
    READ_NPU(out)
    switch (type) {
    case 2: case 13: case 14: *out = percent(d); break;
    case 3: case 4: *out = 0; break;
    case 6: *out = (unsigned)(100 * node_memory_used(d) / d->model.memory_bytes); break;
    case 10: *out = (unsigned)lround(40 * d->shown_busy); break;
    case 12:
        *out = percent(d) / 5;
        code = d->model.vector_cores == 0 ? NOT_SUPPORT : OK;
        break;
    default: code = type == 1 || type == 5 ? NOT_SUPPORT : INVALID_PARAMETER;
    }
    DONE
}

EXPORT int dcmi_get_device_multi_utilization_rate(int card, int unit, MultiUtilization *out)
{
    READ_NPU(out)
    *out = (MultiUtilization){ .aic = percent(d), .aiv = percent(d) / 5, .aicore = percent(d), .npu = percent(d) };
    DONE
}

EXPORT int dcmi_get_device_hbm_info(int card, int unit, HbmInfo *out)
{
    READ_NPU(out)
    *out = (HbmInfo){ d->model.memory_bytes >> 20, mhz(d->model.memory_clock), node_memory_used(d) >> 20,
                      (int)lround(d->memory_temperature), (unsigned)lround(40 * d->shown_busy) };
    DONE
}

EXPORT int dcmi_get_device_memory_info_v3(int card, int unit, MemoryInfo *out)
{
    READ_NPU(out)
    uint64_t used = node_memory_used(d);
    *out = (MemoryInfo){ .memory_size = d->model.memory_bytes >> 20, .memory_available = (d->model.memory_bytes - used) >> 20,
                         .freq = mhz(d->model.memory_clock), .hugepagesize = 2048,
                         .utiliza = (unsigned)(100 * used / d->model.memory_bytes) };
    DONE
}

EXPORT int dcmi_get_device_ecc_info(int card, int unit, int type, EccInfo *out)
{
    READ_NPU(out)
    if (type == 2)
        *out = (EccInfo){ 1, (unsigned)d->ecc_corrected, (unsigned)d->ecc_uncorrected, (unsigned)d->ecc_corrected,
                          (unsigned)d->ecc_uncorrected, 0, (unsigned)d->ecc_uncorrected };
    else
        code = type == 0 || type == 1 || type == 3 ? NOT_SUPPORT : INVALID_PARAMETER;
    DONE
}

EXPORT int dcmi_get_device_health(int card, int unit, unsigned *out)
{
    READ(out)
    *out = d->faults & FAULT_ECC_UNCORRECTED ? 2 : d->limits & LIMIT_THERMAL_HARD ? 1 : 0;
    DONE
}

EXPORT int dcmi_get_driver_health(unsigned *out)
{
    struct node_page *p;
    int code = enter_page(&p);
    if (code == OK && out == NULL)
        code = INVALID_PARAMETER;
    if (code == OK)
        *out = 0;
    return code;
}

#define CODE_HBM_ECC 0x80E01801u

EXPORT int dcmi_get_device_errorcode_v2(int card, int unit, int *count, unsigned *codes, unsigned length)
{
    READ(count == NULL ? NULL : codes)
    *count = 0;
    if (length == 0)
        code = INVALID_PARAMETER;
    else if (d->faults & FAULT_ECC_UNCORRECTED)
        codes[(*count)++] = CODE_HBM_ECC;
    DONE
}

EXPORT int dcmi_get_device_errorcode_string(int card, int unit, unsigned which, unsigned char *out, int length)
{
    READ(out)
    code = length <= 0 ? INVALID_PARAMETER
                       : text((char *)out, (unsigned)length, which == CODE_HBM_ECC ? "HBM multi-bit ECC error" : "unknown");
    DONE
}

EXPORT int dcmi_get_device_sensor_info(int card, int unit, int sensor, SensorInfo *out)
{
    READ_NPU(out)
    memset(out, 0, sizeof *out);
    switch (sensor) {
    case 11: out->uchar = (unsigned char)lround(d->temperature); break;
    case 13: out->iint = (int)lround(d->temperature - 3); break;
    case 14: out->iint = (int)lround(d->memory_temperature); break;
    default: code = sensor < 0 || sensor > 14 ? INVALID_PARAMETER : NOT_SUPPORT;
    }
    DONE
}

EXPORT int dcmi_get_device_boot_status(int card, int unit, int *out)
{
    READ_NPU(out)
    *out = 16;
    DONE
}

EXPORT int dcmi_get_device_resource_info(int card, int unit, ProcessMemory *out, int *count)
{
    READ_NPU(out == NULL ? NULL : count)
    node_client(d, getpid(), false); /* forgets the dead */
    *count = 0;
    for (unsigned i = 0; i < NODE_CLIENTS; i++)
        if (d->clients[i].pid != 0)
            out[(*count)++] = (ProcessMemory){ d->clients[i].pid, d->clients[i].memory };
    DONE
}

EXPORT int dcmi_get_device_network_health(int card, int unit, int *out)
{
    READ_NPU(out)
    *out = 0;
    DONE
}

EXPORT int dcmi_get_topo_info_by_device_id(int card, int unit, int card2, int unit2, int *out)
{
    READ(out)
    *out = card == card2 && unit == unit2 ? 0 : 3;
    code = index_of(p, card2) < 0 || card2 < 0 ? INVALID_DEVICE : OK;
    DONE
}

/* Why the clock is below the rated one, refreshed every 100 ms, no history: bits of the low-power module. */
static unsigned long long limits(const struct node_device *d)
{
    static const struct { uint32_t limit; unsigned bit; } table[] = {
        { LIMIT_IDLE, 0 }, { LIMIT_THERMAL_SOFT, 2 }, { LIMIT_THERMAL_HARD, 2 }, { LIMIT_BRAKE, 5 }, { LIMIT_POWER, 10 },
    };
    unsigned long long mask = 0;
    for (unsigned i = 0; i < sizeof table / sizeof table[0]; i++)
        mask |= d->limits & table[i].limit ? 1ULL << table[i].bit : 0;
    return mask;
}

#define MAIN_LOW_POWER 8

EXPORT int dcmi_get_device_info(int card, int unit, int main_command, unsigned sub_command, void *out, unsigned *size)
{
    READ_NPU(out == NULL ? NULL : size)
    unsigned long long mask = limits(d);
    if (main_command != MAIN_LOW_POWER) {
        code = NOT_SUPPORT;
    } else if (sub_command == 9 && *size >= sizeof mask) {
        memcpy(out, &mask, sizeof mask);
        *size = sizeof mask;
    } else if (sub_command == 5 && *size >= sizeof(unsigned)) {
        unsigned idle = d->limits & LIMIT_IDLE ? 1 : 0;
        memcpy(out, &idle, sizeof idle);
        *size = sizeof idle;
    } else if (sub_command == 10 && *size >= sizeof(LowPowerInfo)) {
        LowPowerInfo info = { .soc_rated_power = (unsigned)lround(d->power_limit * 1e3) };
        memcpy(out, &info, sizeof info);
        *size = sizeof info;
    } else {
        code = sub_command == 5 || sub_command == 9 || sub_command == 10 ? INVALID_PARAMETER : NOT_SUPPORT;
    }
    DONE
}
