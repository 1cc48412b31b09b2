/* SPDX-License-Identifier: Apache-2.0 */
/* TRANSPOSE_CONV: each output pixel gathers the input pixels whose kernels reach it. */
#ifndef EP_TRANSPOSE_CONV_H
#define EP_TRANSPOSE_CONV_H

#include "ep_base.h"

typedef struct {
    const int8_t *weights; /* [out_c][kernel_h][kernel_w][in_c] */
    const int32_t *bias;
    ep_output output;
    int16_t in_h, in_w, in_c;
    int16_t out_h, out_w, out_c;
    int16_t kernel_h, kernel_w;
    int16_t stride_h, stride_w;
    int16_t pad_top, pad_left;
    int16_t in_zero;
} ep_transpose_conv;

/* One channel of the output pixel whose first tap lies at (y, x) of the input, enlarged. */
EP_INLINE int32_t ep_transpose_conv_sum(const ep_transpose_conv *l, const int8_t *in,
                                        const int8_t *w, int y, int x)
{
    const int32_t zero = l->in_zero;
    int32_t sum = 0;
    for (int ky = 0; ky < l->kernel_h; ++ky) {
        const int at_y = y - ky, iy = at_y / l->stride_h;
        const int row_fits = at_y >= 0 && iy < l->in_h && at_y % l->stride_h == 0;
        for (int kx = 0; kx < l->kernel_w; ++kx) {
            const int at_x = x - kx, ix = at_x / l->stride_w;
            if (row_fits && at_x >= 0 && ix < l->in_w && at_x % l->stride_w == 0) {
                const int8_t *p = in + (iy * l->in_w + ix) * l->in_c;
                for (int c = 0; c < l->in_c; ++c) {
                    sum += w[c] * (p[c] - zero);
                }
            }
            w += l->in_c;
        }
    }
    return sum;
}

EP_KERNEL void ep_transpose_conv_run(const ep_transpose_conv *l, const int8_t *in, int8_t *out)
{
    const ep_output *o = &l->output;
    const int32_t filter = l->kernel_h * l->kernel_w * l->in_c;
    for (int oy = 0; oy < l->out_h; ++oy) {
        for (int ox = 0; ox < l->out_w; ++ox) {
            for (int c = 0; c < l->out_c; ++c) {
                const int32_t sum = ep_transpose_conv_sum(
                    l, in, l->weights + c * filter, oy + l->pad_top, ox + l->pad_left);
                *out++ = ep_byte(o, sum + l->bias[c], o->multiplier[c], o->shift[c], 1);
            }
        }
    }
}

#endif
