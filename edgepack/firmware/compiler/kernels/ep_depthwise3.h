/* SPDX-License-Identifier: Apache-2.0 */
/* DEPTHWISE_CONV_2D with a 3 by 3 kernel, the usual one, moving by one or two.
 *
 * Four channels at a time. With the DSP extension three rows of the picture are turned into a
 * plane of halves for each channel, so that two neighbouring taps lie in one word; the zero
 * point is taken off on the way, and what lies outside the picture is 0.
 */
#ifndef EP_DEPTHWISE3_H
#define EP_DEPTHWISE3_H

#include "ep_base.h"

typedef struct {
    const ep_word *weights; /* three words a channel: the taps of a row and a zero byte */
    const int32_t *bias;
    ep_output output;
    int16_t in_h, in_w;
    int16_t out_h, out_w;
    int16_t channels;
    int16_t stride;
    int16_t pad_top, pad_left;
    int16_t in_zero;
    int16_t plane; /* halves in a row of a plane, even */
} ep_depthwise3;

#if EP_DSP
/* Lower halves of both, or upper halves of both. */
EP_INLINE uint32_t ep_lower(uint32_t first, uint32_t second)
{
    uint32_t r;
    __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(r) : "r"(first), "r"(second));
    return r;
}
EP_INLINE uint32_t ep_upper(uint32_t first, uint32_t second)
{
    uint32_t r;
    __asm__("pkhtb %0, %1, %2, asr #16" : "=r"(r) : "r"(second), "r"(first));
    return r;
}
EP_INLINE int32_t ep_mla_tb(uint32_t x, uint32_t y, int32_t acc)
{
    __asm__("smlatb %0, %1, %2, %0" : "+r"(acc) : "r"(x), "r"(y));
    return acc;
}
EP_INLINE int32_t ep_mla_bt(uint32_t x, uint32_t y, int32_t acc)
{
    __asm__("smlabt %0, %1, %2, %0" : "+r"(acc) : "r"(x), "r"(y));
    return acc;
}

/* Two neighbouring pixels of four channels into the four planes. */
EP_INLINE void ep_plane_pair(ep_word *to, int step, uint32_t p, uint32_t q, uint32_t zero)
{
    const uint32_t p02 = ep_widen_add_02(zero, p), q02 = ep_widen_add_02(zero, q);
    const uint32_t p13 = ep_widen_add_13(zero, p), q13 = ep_widen_add_13(zero, q);
    to[0] = ep_lower(p02, q02);
    to[step] = ep_lower(p13, q13);
    to[2 * step] = ep_upper(p02, q02);
    to[3 * step] = ep_upper(p13, q13);
}

/* Row ``y`` of four channels into planes; ``in`` points to the first of them at (0, 0). */
EP_INLINE void ep_plane_row(const ep_depthwise3 *l, const int8_t *in, int y, ep_word *to)
{
    const int step = l->plane / 2, channels = l->channels, width = l->in_w;
    if (y < 0 || y >= l->in_h) {
        memset(to, 0, (size_t)(l->plane * 8));
        return;
    }
    const uint32_t outside = (uint32_t)(l->in_zero & 0xff) * 0x01010101u;
    const uint32_t zero = (uint32_t)(-l->in_zero & 0xffff) * 0x10001u;
    const int8_t *from = in + (int32_t)y * width * channels;
    int x = 0, at = 0;
    if (l->pad_left) {
        ep_plane_pair(to, step, outside, ep_load(from), zero);
        from += channels;
        x = 1, at = 1;
    }
    for (; x + 1 < width; x += 2) {
        ep_plane_pair(to + at, step, ep_load(from), ep_load(from + channels), zero);
        from += 2 * channels;
        ++at;
    }
    for (; at < step; ++at) { /* the last pixel and what is to its right */
        ep_plane_pair(to + at, step, x < width ? ep_load(from) : outside, outside, zero);
        ++x;
    }
}

/* One row of one channel: two outputs from the four columns under both windows. */
EP_INLINE void ep_depthwise3_row(const ep_depthwise3 *l, const ep_word *const rows[3],
                                 const ep_word *w, int channel, int8_t *out, const int stride,
                                 const int exact)
{
    const uint32_t f0 = ep_widen_02(w[0]), g0 = ep_widen_13(w[0]);
    const uint32_t f1 = ep_widen_02(w[1]), g1 = ep_widen_13(w[1]);
    const uint32_t f2 = ep_widen_02(w[2]), g2 = ep_widen_13(w[2]);
    const uint32_t a0 = ep_lower(f0, g0), c0 = (f0 & 0xffff0000u) | (g0 & 0xffffu);
    const uint32_t a1 = ep_lower(f1, g1), c1 = (f1 & 0xffff0000u) | (g1 & 0xffffu);
    const uint32_t a2 = ep_lower(f2, g2), c2 = (f2 & 0xffff0000u) | (g2 & 0xffffu);
    const ep_word *r0 = rows[0], *r1 = rows[1], *r2 = rows[2];
    const int32_t bias = l->bias[channel];
    const ep_output output = l->output;
    const uint32_t multiplier = output.multiplier[channel];
    const int32_t shift = output.shift[channel];
    const int channels = l->channels;
    for (int left = l->out_w; left > 0; left -= 3 - stride) {
        const uint32_t x0 = r0[0], y0 = r0[1], x1 = r1[0], y1 = r1[1], x2 = r2[0], y2 = r2[1];
        int32_t s = ep_mla_bt(y0, c0, ep_mla2(x0, a0, bias));
        s = ep_mla_bt(y1, c1, ep_mla2(x1, a1, s));
        s = ep_mla_bt(y2, c2, ep_mla2(x2, a2, s));
        out[0] = ep_byte(&output, s, multiplier, shift, exact);
        out += channels;
        if (stride == 1 && left > 1) {
            s = ep_mla2(y0, c0, ep_mla_tb(x0, a0, bias));
            s = ep_mla2(y1, c1, ep_mla_tb(x1, a1, s));
            s = ep_mla2(y2, c2, ep_mla_tb(x2, a2, s));
            out[0] = ep_byte(&output, s, multiplier, shift, exact);
            out += channels;
        }
        ++r0, ++r1, ++r2;
    }
}

/* ``scratch``: three rows of four planes. */
EP_INLINE void ep_depthwise3_any(const ep_depthwise3 *l, const int8_t *in, int8_t *out,
                                 ep_word *scratch, const int stride, const int exact)
{
    const int step = l->plane / 2, channels = l->channels;
    for (int first = 0; first < channels; first += 4) {
        int ready = -l->pad_top; /* next row to turn into planes */
        for (int oy = 0; oy < l->out_h; ++oy) {
            const int y = oy * stride - l->pad_top;
            const ep_word *rows[3];
            for (; ready < y + 3; ++ready) {
                if (ready >= y) {
                    ep_plane_row(l, in + first, ready, scratch + (ready + 3) % 3 * 4 * step);
                }
            }
            for (int ky = 0; ky < 3; ++ky) {
                rows[ky] = scratch + (y + ky + 3) % 3 * 4 * step;
            }
            int8_t *to = out + oy * l->out_w * channels + first;
            for (int c = first; c < first + 4 && c < channels; ++c) {
                ep_depthwise3_row(l, rows, l->weights + 3 * c, c, to++, stride, exact);
                rows[0] += step, rows[1] += step, rows[2] += step;
            }
        }
    }
}
#else
EP_INLINE void ep_depthwise3_any(const ep_depthwise3 *l, const int8_t *in, int8_t *out,
                                 ep_word *scratch, const int stride, const int exact)
{
    const int channels = l->channels;
    (void)scratch;
    for (int oy = 0; oy < l->out_h; ++oy) {
        const int y = oy * stride - l->pad_top;
        const int top = y < 0 ? -y : 0, bottom = y + 3 > l->in_h ? l->in_h - y : 3;
        for (int ox = 0; ox < l->out_w; ++ox) {
            const int x = ox * stride - l->pad_left;
            const int left = x < 0 ? -x : 0, right = x + 3 > l->in_w ? l->in_w - x : 3;
            for (int c = 0; c < channels; ++c) {
                const int8_t *w = (const int8_t *)(l->weights + 3 * c);
                int32_t sum = l->bias[c];
                for (int ky = top; ky < bottom; ++ky) {
                    const int8_t *p = in + ((y + ky) * l->in_w + x + left) * channels + c;
                    for (int kx = left; kx < right; ++kx) {
                        sum += w[4 * ky + kx] * (*p - l->in_zero);
                        p += channels;
                    }
                }
                *out++ = ep_byte(&l->output, sum, l->output.multiplier[c], l->output.shift[c],
                                 exact);
            }
        }
    }
}
#endif

EP_INLINE void ep_depthwise3_strided(const ep_depthwise3 *l, const int8_t *in, int8_t *out,
                                     ep_word *scratch, const int exact)
{
    if (l->stride == 1) {
        ep_depthwise3_any(l, in, out, scratch, 1, exact);
    } else {
        ep_depthwise3_any(l, in, out, scratch, 2, exact);
    }
}

EP_KERNEL void ep_depthwise3_fast(const ep_depthwise3 *l, const int8_t *in, int8_t *out,
                                  ep_word *scratch)
{
    ep_depthwise3_strided(l, in, out, scratch, 0);
}

EP_KERNEL void ep_depthwise3_exact(const ep_depthwise3 *l, const int8_t *in, int8_t *out,
                                   ep_word *scratch)
{
    ep_depthwise3_strided(l, in, out, scratch, 1);
}

#endif
