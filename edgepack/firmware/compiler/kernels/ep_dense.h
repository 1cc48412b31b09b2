/* SPDX-License-Identifier: Apache-2.0 */
/* FULLY_CONNECTED, and a CONV_2D that has one output pixel: rows of bytes times weights. */
#ifndef EP_DENSE_H
#define EP_DENSE_H

#include "ep_dot.h"

typedef struct {
    const ep_word *weights; /* in fours of channels, then a pair; see ep_dot.h */
    const int32_t *bias;
    ep_output output;
    int16_t rows;     /* of input and output */
    int16_t inputs;   /* bytes in a row of input */
    int16_t channels; /* bytes in a row of output */
    int16_t step;     /* 1: a multiplier a channel, 0: one for all */
} ep_dense;

EP_INLINE int8_t ep_dense_byte(const ep_dense *l, int32_t sum, int channel, const int exact)
{
    const int at = channel * l->step;
    return ep_byte(&l->output, sum, l->output.multiplier[at], l->output.shift[at], exact);
}

EP_INLINE void ep_dense_any(const ep_dense *l, const int8_t *in, int8_t *out, const int exact)
{
    const int32_t *bias = l->bias;
    const int inputs = l->inputs, channels = l->channels;
    for (int row = 0; row < l->rows; ++row) {
        const ep_word *w = l->weights;
        int c = 0;
        for (; c + 2 < channels; c += 4) { /* four channels, or three and a row of zeros */
            int32_t sum[4] = {bias[c], bias[c + 1], bias[c + 2], bias[c + 3]};
            w = ep_dot_row(w, in, inputs, sum, 4);
            out[c] = ep_dense_byte(l, sum[0], c, exact);
            out[c + 1] = ep_dense_byte(l, sum[1], c + 1, exact);
            out[c + 2] = ep_dense_byte(l, sum[2], c + 2, exact);
            if (c + 3 < channels) {
                out[c + 3] = ep_dense_byte(l, sum[3], c + 3, exact);
            }
        }
        if (c < channels) {
            int32_t sum[2] = {bias[c], bias[c + 1]};
            ep_dot_row(w, in, inputs, sum, 2);
            out[c] = ep_dense_byte(l, sum[0], c, exact);
            if (c + 1 < channels) {
                out[c + 1] = ep_dense_byte(l, sum[1], c + 1, exact);
            }
        }
        in += inputs;
        out += channels;
    }
}

EP_KERNEL void ep_dense_fast(const ep_dense *l, const int8_t *in, int8_t *out)
{
    ep_dense_any(l, in, out, 0);
}

EP_KERNEL void ep_dense_exact(const ep_dense *l, const int8_t *in, int8_t *out)
{
    ep_dense_any(l, in, out, 1);
}

#endif
