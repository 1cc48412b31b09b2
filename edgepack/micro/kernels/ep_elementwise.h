/* ADD, SUB, MUL, and every function of one byte as a table. */
#ifndef EP_ELEMENTWISE_H
#define EP_ELEMENTWISE_H

#include "ep_base.h"

/* Both inputs are brought to one scale with 20 more bits, summed and scaled back. */
typedef struct {
    uint32_t multiplier[3]; /* first input, second input, output */
    int8_t shift[3];        /* as TFLM has them, none to the left */
    int16_t zero[3];
    int16_t low, high;
    int16_t sign; /* -1 subtracts the second input */
    int32_t count;
    int32_t repeat; /* the second input starts again after so many bytes */
} ep_sum;

EP_KERNEL void ep_add(const ep_sum *l, const int8_t *a, const int8_t *b, int8_t *out)
{
    for (int32_t done = 0; done < l->count; done += l->repeat) {
        for (int32_t i = 0; i < l->repeat; ++i) {
            const int32_t x =
                ep_scale((a[i] - l->zero[0]) * (1 << 20), l->multiplier[0], l->shift[0]);
            const int32_t y =
                ep_scale((b[i] - l->zero[1]) * (1 << 20), l->multiplier[1], l->shift[1]);
            const int32_t sum = ep_scale(x + l->sign * y, l->multiplier[2], l->shift[2]);
            out[i] = (int8_t)ep_clamp(sum + l->zero[2], l->low, l->high);
        }
        a += l->repeat;
        out += l->repeat;
    }
}

typedef struct {
    uint32_t multiplier;
    int8_t shift;
    int16_t zero[3];
    int16_t low, high;
    int32_t count;
    int32_t repeat;
} ep_product;

EP_KERNEL void ep_multiply(const ep_product *l, const int8_t *a, const int8_t *b, int8_t *out)
{
    for (int32_t done = 0; done < l->count; done += l->repeat) {
        for (int32_t i = 0; i < l->repeat; ++i) {
            const int32_t x = (a[i] - l->zero[0]) * (b[i] - l->zero[1]);
            const int32_t y = ep_scale(x, l->multiplier, l->shift) + l->zero[2];
            out[i] = (int8_t)ep_clamp(y, l->low, l->high);
        }
        a += l->repeat;
        out += l->repeat;
    }
}

/* out = table[in + 128], or table[in] for unsigned bytes (``flip`` 0). */
EP_KERNEL void ep_lookup(const int8_t *table, const int8_t *in, int8_t *out, int32_t count,
                         uint8_t flip)
{
    for (int32_t i = 0; i < count; ++i) {
        out[i] = table[(uint8_t)in[i] ^ flip];
    }
}

#endif
