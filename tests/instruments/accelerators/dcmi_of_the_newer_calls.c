/* A libdcmi of the newer generation, as the facts tell of an Ascend 950: the older calls do not work, the newer name a device
 * by one number, and the die that has a number is the one of kind 2. Two devices, of which the second works. */
#include <stdint.h>
#include <string.h>

enum { OK = 0, INVALID = -8001, NO_DEVICE = -8008, NOT_SUPPORTED = -8255 };

static int known(int device) { return device == 0 || device == 5; }

int dcmi_init(void) { return NOT_SUPPORTED; }
int dcmiv2_init(void) { return OK; }

int dcmiv2_get_device_list(int *list, int *count, int length)
{
    if (length < 2)
        return INVALID;
    list[0] = 0, list[1] = 5, *count = 2;
    return OK;
}

int dcmiv2_get_device_chip_info(int device, unsigned char *info)
{
    const uint32_t cores = 32;
    if (!known(device))
        return NO_DEVICE;
    memset(info, 0, 132);
    strcpy((char *)info, "Ascend");
    strcpy((char *)info + 32, "950PR_9589");
    strcpy((char *)info + 64, "V1");
    memcpy(info + 96, &cores, 4);
    strcpy((char *)info + 100, "950PR_9589");
    return OK;
}

int dcmiv2_get_device_pcie_info(int device, uint32_t *info)
{
    if (!known(device))
        return NO_DEVICE;
    memset(info, 0, 64);
    info[0] = 0x19e5, info[4] = 1, info[5] = 0xc0 + (uint32_t)device, info[6] = 2, info[7] = 0;
    return OK;
}

int dcmiv2_get_device_die_id(int device, int kind, uint32_t *words)
{
    if (kind != 2)
        return INVALID;
    for (uint32_t i = 0; i < 5; i++)
        words[i] = 0x10u * (uint32_t)device + i;
    return known(device) ? OK : NO_DEVICE;
}

int dcmiv2_get_device_power_info(int device, int *tenths)
{
    *tenths = device == 5 ? 4321 : 0x7fff;
    return known(device) ? OK : NO_DEVICE;
}

int dcmiv2_get_device_temperature(int device, int *celsius)
{
    *celsius = 40 + device;
    return known(device) ? OK : NO_DEVICE;
}

int dcmiv2_get_device_frequency(int device, int kind, unsigned *megahertz)
{
    if (kind != 6 && kind != 7 && kind != 9)
        return INVALID;
    *megahertz = kind == 6 ? 1600u : kind == 7 ? 1500u : 1650u;
    return known(device) ? OK : NO_DEVICE;
}

int dcmiv2_get_device_utilization_rate(int device, int kind, unsigned *percent)
{
    *percent = kind == 2 ? 87u : 0u;
    return known(device) ? OK : NO_DEVICE;
}

int dcmiv2_get_device_hbm_info(int device, unsigned char *info)
{
    const uint64_t size = 131072, used = 1024;
    memset(info, 0, 32);
    memcpy(info, &size, 8);
    memcpy(info + 16, &used, 8);
    return known(device) ? OK : NO_DEVICE;
}

int dcmiv2_get_device_info(int device, int command, unsigned part, void *buffer, unsigned *size)
{
    const uint64_t reasons = device == 5 ? 1u << 10 : 0;
    if (command != 8 || part != 9 || *size < 8)
        return INVALID;
    memcpy(buffer, &reasons, 8);
    *size = 8;
    return known(device) ? OK : NO_DEVICE;
}

int dcmiv2_get_device_proc_mem_info(int device, unsigned char *entries, int *count)
{
    const int32_t process = 4711;
    memset(entries, 0, 16);
    memcpy(entries, &process, 4);
    *count = 1;
    return known(device) ? OK : NO_DEVICE;
}
