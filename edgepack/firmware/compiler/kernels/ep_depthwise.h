/* SPDX-License-Identifier: Apache-2.0 */
/* DEPTHWISE_CONV_2D: four channels at a time, tap by tap, where each has one filter.
 *
 * Taps outside the picture are left out, so the zero point is taken from every input.
 */
#ifndef EP_DEPTHWISE_H
#define EP_DEPTHWISE_H

#include "ep_base.h"

typedef struct {
    const int8_t *weights; /* [kernel_h][kernel_w][channels] */
    const int32_t *bias;
    ep_output output;
    int16_t in_h, in_w;
    int16_t out_h, out_w;
    int16_t channels;   /* of the output */
    int16_t multiplier; /* filters of an input channel */
    int16_t kernel_h, kernel_w;
    int16_t stride_h, stride_w;
    int16_t dilation_h, dilation_w;
    int16_t pad_top, pad_left;
    int16_t in_zero;
} ep_depthwise;

/* The taps of one output pixel that lie inside the picture. */
typedef struct {
    const int8_t *input;
    const int8_t *weights;
    int rows, columns;
    int input_step, input_skip; /* to the next tap, and from the last to the next row */
    int weight_step, weight_skip;
} ep_taps;

EP_INLINE int32_t ep_depthwise_one(const ep_taps *taps, int from, int channel, int32_t sum,
                                   int32_t zero)
{
    const int8_t *x = taps->input + from, *w = taps->weights + channel;
    for (int ky = taps->rows; ky > 0; --ky) {
        for (int kx = taps->columns; kx > 0; --kx) {
            sum += *w * (*x - zero);
            x += taps->input_step;
            w += taps->weight_step;
        }
        x += taps->input_skip;
        w += taps->weight_skip;
    }
    return sum;
}

EP_INLINE int8_t ep_depthwise_byte(const ep_depthwise *l, int32_t sum, int c, const int exact)
{
    return ep_byte(&l->output, sum, l->output.multiplier[c], l->output.shift[c], exact);
}

EP_INLINE void ep_depthwise_pixel(const ep_depthwise *l, const ep_taps *taps, int8_t *out,
                                  const int exact)
{
    int c = 0;
#if EP_DSP
    const uint32_t zero = (uint32_t)(-l->in_zero & 0xffff) * 0x10001u;
    for (; l->multiplier == 1 && c + 3 < l->channels; c += 4) {
        int32_t s0 = l->bias[c], s1 = l->bias[c + 1], s2 = l->bias[c + 2], s3 = l->bias[c + 3];
        const int8_t *x = taps->input + c, *w = taps->weights + c;
        for (int ky = taps->rows; ky > 0; --ky) {
            for (int kx = taps->columns; kx > 0; --kx) {
                const uint32_t xw = ep_load(x), ww = ep_load(w);
                const uint32_t x02 = ep_widen_add_02(zero, xw), w02 = ep_widen_02(ww);
                const uint32_t x13 = ep_widen_add_13(zero, xw), w13 = ep_widen_13(ww);
                s0 = ep_mla_bb(x02, w02, s0);
                s2 = ep_mla_tt(x02, w02, s2);
                s1 = ep_mla_bb(x13, w13, s1);
                s3 = ep_mla_tt(x13, w13, s3);
                x += taps->input_step;
                w += taps->weight_step;
            }
            x += taps->input_skip;
            w += taps->weight_skip;
        }
        out[c] = ep_depthwise_byte(l, s0, c, exact);
        out[c + 1] = ep_depthwise_byte(l, s1, c + 1, exact);
        out[c + 2] = ep_depthwise_byte(l, s2, c + 2, exact);
        out[c + 3] = ep_depthwise_byte(l, s3, c + 3, exact);
    }
#endif
    for (; c < l->channels; ++c) {
        const int32_t sum =
            ep_depthwise_one(taps, c / l->multiplier, c, l->bias[c], l->in_zero);
        out[c] = ep_depthwise_byte(l, sum, c, exact);
    }
}

/* First tap inside [0, size) and how many follow it. */
EP_INLINE int ep_inside(int start, int dilation, int taps, int size, int *count)
{
    const int first = start < 0 ? (-start + dilation - 1) / dilation : 0;
    const int last = (size - 1 - start) / dilation; /* start < size: padding is below a kernel */
    *count = (last < taps - 1 ? last : taps - 1) - first + 1;
    return first;
}

EP_INLINE void ep_depthwise_any(const ep_depthwise *l, const int8_t *in, int8_t *out,
                                const int exact)
{
    const int depth = l->channels / l->multiplier, row = l->in_w * depth;
    ep_taps taps;
    taps.input_step = l->dilation_w * depth;
    taps.weight_step = l->channels;
    for (int oy = 0; oy < l->out_h; ++oy) {
        const int y = oy * l->stride_h - l->pad_top;
        const int ky = ep_inside(y, l->dilation_h, l->kernel_h, l->in_h, &taps.rows);
        for (int ox = 0; ox < l->out_w; ++ox) {
            const int x = ox * l->stride_w - l->pad_left;
            const int kx = ep_inside(x, l->dilation_w, l->kernel_w, l->in_w, &taps.columns);
            taps.input = in + (y + ky * l->dilation_h) * row
                         + (x + kx * l->dilation_w) * depth;
            taps.weights = l->weights + (ky * l->kernel_w + kx) * l->channels;
            taps.input_skip = l->dilation_h * row - taps.columns * taps.input_step;
            taps.weight_skip = (l->kernel_w - taps.columns) * l->channels;
            ep_depthwise_pixel(l, &taps, out, exact);
            out += l->channels;
        }
    }
}

EP_KERNEL void ep_depthwise_fast(const ep_depthwise *l, const int8_t *in, int8_t *out)
{
    ep_depthwise_any(l, in, out, 0);
}

EP_KERNEL void ep_depthwise_exact(const ep_depthwise *l, const int8_t *in, int8_t *out)
{
    ep_depthwise_any(l, in, out, 1);
}

#endif
