/* FULLY_CONNECTED, and a CONV_2D that has one output pixel: rows of bytes times weights. */
#ifndef EP_DENSE_H
#define EP_DENSE_H

#include "ep_dot.h"

typedef struct {
    const ep_word *weights; /* in pairs of channels, see ep_dot.h */
    const int32_t *bias;
    ep_output output;
    int16_t rows;     /* of input and output */
    int16_t inputs;   /* bytes in a row of input */
    int16_t channels; /* bytes in a row of output */
    int16_t step;     /* 1: a multiplier a channel, 0: one for all */
} ep_dense;

EP_INLINE void ep_dense_any(const ep_dense *l, const int8_t *in, int8_t *out, const int exact)
{
    for (int row = 0; row < l->rows; ++row) {
        const ep_word *w = l->weights;
        for (int c = 0; c < l->channels; c += 2) {
            int32_t sum[2] = {l->bias[c], l->bias[c + 1]};
            w = ep_dot_row(w, in, l->inputs, sum);
            out[c] = ep_byte(&l->output, sum[0], c * l->step, exact);
            if (c + 1 < l->channels) {
                out[c + 1] = ep_byte(&l->output, sum[1], (c + 1) * l->step, exact);
            }
        }
        in += l->inputs;
        out += l->channels;
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
