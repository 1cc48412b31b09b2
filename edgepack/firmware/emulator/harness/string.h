/* What a model needs of <string.h>, for a compiler that brings no C library. */
#ifndef EDGEPACK_STRING_H
#define EDGEPACK_STRING_H

#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t size);
void *memset(void *to, int value, size_t size);

#endif
