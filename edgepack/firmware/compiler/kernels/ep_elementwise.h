/* SPDX-License-Identifier: Apache-2.0 */
/* ADD, SUB, MUL, MAXIMUM, MINIMUM, PRELU, and every function of one byte as a table.
 *
 * The second input may be smaller: each of its ``repeat`` bytes stands for ``hold`` of the
 * first's, and behind the last it starts again.
 */
#ifndef EP_ELEMENTWISE_H
#define EP_ELEMENTWISE_H

#include "ep_base.h"

/* Both inputs are brought to one scale with 20 more bits, summed and scaled back. */
typedef struct {
    uint32_t multiplier[3]; /* first input, second input, output */
    int8_t right[3];        /* shift after each */
    int16_t zero[3];
    int16_t low, high;
    int16_t sign; /* -1 subtracts the second input */
    int32_t count, repeat, hold;
} ep_sum;

/* The second rounding with its shift's constants at hand; a shift of 0 leaves ``x``. */
typedef struct {
    int32_t right, half, carry;
} ep_rounding;

EP_INLINE ep_rounding ep_rounding_of(int32_t right)
{
    const ep_rounding r = {right, right ? 1 << (right - 1) : 0, right ? -1 : 0};
    return r;
}

EP_INLINE int32_t ep_round(int32_t x, ep_rounding r)
{
    return (x + ((x >> 31) & r.carry) + r.half) >> r.right;
}

EP_KERNEL void ep_add(const ep_sum *l, const int8_t *a, const int8_t *b, int8_t *out)
{
    const ep_rounding ra = ep_rounding_of(l->right[0]), rb = ep_rounding_of(l->right[1]);
    const ep_rounding ro = ep_rounding_of(l->right[2]);
    const uint32_t ma = l->multiplier[0], mb = l->multiplier[1], mo = l->multiplier[2];
    const int32_t za = l->zero[0], zb = l->zero[1], zo = l->zero[2];
    const int32_t low = l->low, high = l->high, sign = l->sign;
    const int32_t step = l->hold == 1; /* the second input moves with the first */
    const int32_t runs = step ? 1 : l->repeat, run = step ? l->repeat : l->hold;
    for (const int8_t *const end = a + l->count; a < end;) {
        const int8_t *p = b;
        for (int32_t i = 0; i < runs; ++i) {
            for (int32_t k = 0; k < run; ++k) {
                const int32_t x = ep_round(ep_high((a[k] - za) * (1 << 20), ma), ra);
                const int32_t y = ep_round(ep_high((*p - zb) * (1 << 20), mb), rb);
                const int32_t sum = ep_round(ep_high(x + sign * y, mo), ro);
                out[k] = (int8_t)ep_clamp(sum + zo, low, high);
                p += step;
            }
            a += run;
            out += run;
            p += !step;
        }
    }
}

typedef struct {
    uint32_t multiplier;
    int8_t shift;
    int16_t zero[3];
    int16_t low, high;
    int32_t count, repeat, hold;
} ep_product;

EP_KERNEL void ep_multiply(const ep_product *l, const int8_t *a, const int8_t *b, int8_t *out)
{
    for (const int8_t *const end = a + l->count; a < end;) {
        for (int32_t i = 0; i < l->repeat; ++i) {
            const int32_t y = b[i] - l->zero[1];
            for (int32_t k = l->hold; k > 0; --k) {
                const int32_t x = ep_scale((*a++ - l->zero[0]) * y, l->multiplier, l->shift);
                *out++ = (int8_t)ep_clamp(x + l->zero[2], l->low, l->high);
            }
        }
    }
}

/* The larger of two bytes of one scale, or the smaller (``sign`` -1). */
EP_KERNEL void ep_extreme(const int8_t *a, const int8_t *b, int8_t *out, int32_t count,
                          int32_t repeat, int32_t hold, int32_t sign)
{
    for (const int8_t *const end = a + count; a < end;) {
        for (int32_t i = 0; i < repeat; ++i) {
            for (int32_t k = hold; k > 0; --k) {
                *out++ = sign * *a >= sign * b[i] ? *a : b[i];
                ++a;
            }
        }
    }
}

typedef struct {
    uint32_t multiplier[2]; /* where the input is not below zero, and where it is */
    int8_t shift[2];
    int16_t zero[3];
    int32_t count, repeat, hold;
} ep_slope;

EP_KERNEL void ep_prelu(const ep_slope *l, const int8_t *a, const int8_t *b, int8_t *out)
{
    for (const int8_t *const end = a + l->count; a < end;) {
        for (int32_t i = 0; i < l->repeat; ++i) {
            const int32_t slope = b[i] - l->zero[1];
            for (int32_t k = l->hold; k > 0; --k) {
                const int32_t x = *a++ - l->zero[0], below = x < 0;
                const int32_t y = ep_scale(below ? x * slope : x, l->multiplier[below],
                                           l->shift[below]);
                *out++ = ep_saturate(y + l->zero[2]);
            }
        }
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
