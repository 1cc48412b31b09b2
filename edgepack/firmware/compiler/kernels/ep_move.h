/* SPDX-License-Identifier: Apache-2.0 */
/* What crosses the border to floating point, and what only moves bytes: QUANTIZE, DEQUANTIZE,
 * PAD, CONCATENATION, and every view of a tensor. */
#ifndef EP_MOVE_H
#define EP_MOVE_H

#include "ep_base.h"

/* Nearest byte, halves away from zero; what is no number becomes the zero point. */
EP_KERNEL void ep_quantize(const ep_float *in, int8_t *out, int32_t count, float scale,
                           int32_t zero)
{
    for (int32_t i = 0; i < count; ++i) {
        float x = in[i] / scale;
        x = x >= 0.0f ? x : x < 0.0f ? x : 0.0f;
        x = x > 512.0f ? 512.0f : x < -512.0f ? -512.0f : x;
        int32_t whole = (int32_t)x;
        const float rest = x - (float)whole;
        whole += rest >= 0.5f ? 1 : rest <= -0.5f ? -1 : 0;
        out[i] = (int8_t)ep_clamp(whole + zero, -128, 127);
    }
}

EP_KERNEL void ep_dequantize(const int8_t *in, ep_float *out, int32_t count, float scale,
                             int32_t zero)
{
    for (int32_t i = 0; i < count; ++i) {
        out[i] = scale * (float)(in[i] - zero);
    }
}

/* ``blocks`` runs of ``bytes`` bytes, each to a place ``stride`` bytes after the last. */
EP_KERNEL void ep_scatter(const int8_t *in, int8_t *out, int32_t blocks, int32_t bytes,
                          int32_t stride)
{
    for (int32_t i = 0; i < blocks; ++i) {
        memcpy(out, in, (size_t)bytes);
        in += bytes;
        out += stride;
    }
}

typedef struct {
    int16_t in[4];
    int16_t before[4];
    int16_t out[4];
    int16_t value;
} ep_padding;

EP_KERNEL void ep_pad(const ep_padding *l, const int8_t *in, int8_t *out)
{
    const int32_t row = l->in[3];
    memset(out, l->value, (size_t)((int32_t)l->out[0] * l->out[1] * l->out[2] * l->out[3]));
    for (int n = 0; n < l->in[0]; ++n) {
        for (int y = 0; y < l->in[1]; ++y) {
            for (int x = 0; x < l->in[2]; ++x) {
                const int32_t at = ((n + l->before[0]) * l->out[1] + y + l->before[1]);
                memcpy(out + (at * l->out[2] + x + l->before[2]) * l->out[3] + l->before[3],
                       in, (size_t)row);
                in += row;
            }
        }
    }
}

/* The output's elements in order, each taken from a place in the input that moves by a fixed
 * step along each dimension: slices, transposition, reversal, repetition. */
typedef struct {
    int16_t size[6];
    int32_t step[6];
    int32_t offset;
    int32_t run; /* bytes that lie side by side, besides the six dimensions */
} ep_view;

EP_KERNEL void ep_copy_view(const ep_view *l, const int8_t *in, int8_t *out)
{
    int16_t at[6] = {0, 0, 0, 0, 0, 0};
    const int8_t *from = in + l->offset;
    for (;;) {
        memcpy(out, from, (size_t)l->run);
        out += l->run;
        int d = 5;
        while (d >= 0 && ++at[d] == l->size[d]) {
            from -= l->step[d] * (l->size[d] - 1);
            at[d] = 0;
            --d;
        }
        if (d < 0) {
            return;
        }
        from += l->step[d];
    }
}

#endif
