/* SPDX-License-Identifier: Apache-2.0 */
/* SOFTMAX over the last dimension, with the exponential as a table. */
#ifndef EP_SOFTMAX_H
#define EP_SOFTMAX_H

#include "ep_base.h"

typedef struct {
    const int32_t *exp; /* exp(-i * beta * scale), no integer bit; 0 from ``steps`` on */
    int32_t steps;
    int32_t rows;
    int32_t depth;
} ep_softmax;

EP_INLINE int32_t ep_saturated_left(int32_t x, int32_t bits)
{
    const int32_t limit = (int32_t)((1u << (31 - bits)) - 1);
    if (x > limit) {
        return INT32_MAX;
    }
    return x < -limit ? INT32_MIN : (int32_t)((uint32_t)x << bits);
}

/* 1 / (1 + a) for a in [0, 1), no integer bit: three steps of Newton and Raphson. */
EP_INLINE int32_t ep_one_over_one_plus(int32_t a)
{
    const int32_t half = (int32_t)(((int64_t)a + INT32_MAX + 1) / 2);
    int32_t x = 1515870810 + ep_fixed_product(half, -1010580540); /* 48/17 - 32/17 half */
    for (int i = 0; i < 3; ++i) {
        const int32_t error = (1 << 29) - ep_fixed_product(half, x);
        x += ep_saturated_left(ep_fixed_product(x, error), 2);
    }
    return ep_saturated_left(x, 1);
}

EP_KERNEL void ep_softmax_rows(const ep_softmax *l, const int8_t *in, int8_t *out)
{
    for (int32_t row = 0; row < l->rows; ++row) {
        int32_t most = -128;
        for (int32_t i = 0; i < l->depth; ++i) {
            most = in[i] > most ? in[i] : most;
        }
        int32_t sum = 0; /* with twelve integer bits */
        for (int32_t i = 0; i < l->depth; ++i) {
            const int32_t below = most - in[i];
            if (below < l->steps) {
                sum += ep_round_right(l->exp[below], 12);
            }
        }
        int32_t zeros = 0;
        uint32_t normal = (uint32_t)sum;
        while (!(normal >> 31)) {
            normal <<= 1;
            ++zeros;
        }
        const int32_t inverse = ep_one_over_one_plus((int32_t)(normal - (1u << 31)));
        const int32_t bits = 12 - zeros + 31 - 8;
        for (int32_t i = 0; i < l->depth; ++i) {
            const int32_t below = most - in[i];
            int32_t x = 0;
            if (below < l->steps) {
                x = ep_round_right(ep_fixed_product(inverse, l->exp[below]), bits);
            }
            out[i] = (int8_t)ep_clamp(x - 128, -128, 127);
        }
        in += l->depth;
        out += l->depth;
    }
}

#endif
