/* Finds a kernel by its number. */
#ifndef AICALIB_CATALOGUE_H
#define AICALIB_CATALOGUE_H

#include "../include/aicalib_native.h"
#include "kernel.h"

const aicalib_kernel_entry *aicalib_kernel_at(int32_t index); /* NULL past the end */
int aicalib_kernel_supported(const aicalib_kernel_entry *entry);
void aicalib_kernel_enter(const aicalib_kernel_entry *entry); /* before slices of it, on their thread */
void aicalib_kernel_leave(const aicalib_kernel_entry *entry); /* after them */
int32_t aicalib_kernel_lanes(const aicalib_kernel_entry *entry); /* of one accumulator, on this processor */

#endif
