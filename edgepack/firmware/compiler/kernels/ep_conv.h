/* SPDX-License-Identifier: Apache-2.0 */
/* CONV_2D: columns of pixels, gathered two at a time, times pairs of output channels.
 *
 * The input's zero point is folded into the bias when the code is generated; a pixel outside
 * the picture is therefore the zero point itself.
 */
#ifndef EP_CONV_H
#define EP_CONV_H

#include "ep_dot.h"

typedef struct {
    const ep_word *weights; /* in pairs of channels, see ep_dot.h */
    const int32_t *bias;    /* this and the factors: an even number */
    ep_output output;
    int16_t in_h, in_w, in_c;
    int16_t out_h, out_w, out_c;
    int16_t kernel_h, kernel_w;
    int16_t stride_h, stride_w;
    int16_t dilation_h, dilation_w;
    int16_t pad_top, pad_left;
    int16_t words; /* of one row of weights */
    int16_t in_zero;
} ep_conv;

/* A kernel row that lies inside the picture, in whole words: up to three bytes behind the row
 * are copied too and overwritten by the next. */
EP_INLINE void ep_copy_words(int8_t *to, const int8_t *from, int bytes)
{
    for (int i = 0; i < bytes; i += 4) {
        memcpy(to + i, from + i, 4);
    }
}

/* The bytes under the kernel at (y, x), tap by tap, as one run. */
EP_INLINE void ep_conv_border(const ep_conv *l, const int8_t *in, int y, int x, int8_t *to)
{
    for (int ky = 0; ky < l->kernel_h; ++ky) {
        const int iy = y + ky * l->dilation_h;
        for (int kx = 0; kx < l->kernel_w; ++kx) {
            const int ix = x + kx * l->dilation_w;
            if (iy < 0 || iy >= l->in_h || ix < 0 || ix >= l->in_w) {
                memset(to, l->in_zero, (size_t)l->in_c);
            } else {
                memcpy(to, in + (iy * l->in_w + ix) * l->in_c, (size_t)l->in_c);
            }
            to += l->in_c;
        }
    }
}

/* One column of ep_dot.h from the window at (y, x). ``bytes`` is room to bring it together
 * where rows are no whole words or reach over the border. */
EP_INLINE void ep_conv_gather(const ep_conv *l, const int8_t *in, int y, int x, ep_word *column,
                              int8_t *bytes)
{
    const int run = l->kernel_w * l->in_c, row = l->in_w * l->in_c * l->dilation_h;
    const int inside = y >= 0 && x >= 0 && x + l->kernel_w <= l->in_w
                       && y + (l->kernel_h - 1) * l->dilation_h < l->in_h;
    const int plain = l->dilation_w == 1 || l->kernel_w == 1;
    if (!inside || !plain) {
        ep_conv_border(l, in, y, x, bytes);
    } else {
        const int8_t *from = in + (y * l->in_w + x) * l->in_c;
        int8_t *to = bytes;
        for (int ky = l->kernel_h; ky > 0; --ky) {
            if (run % 4 == 0) {
                ep_widen(column, from, run / 4);
                column += run / 4 * EP_COLUMN_STEP;
            } else {
                ep_copy_words(to, from, run);
                to += run;
            }
            from += row;
        }
        if (run % 4 == 0) {
            return;
        }
    }
    ep_widen(column, bytes, l->words);
}

/* All channels of two neighbouring output pixels, or of the first one only. */
EP_INLINE void ep_conv_columns(const ep_conv *l, const ep_word *columns, int8_t *out,
                               const int both, const int exact)
{
    const ep_output output = l->output;
    const int32_t *bias = l->bias;
    const ep_word *w = l->weights;
    const int channels = l->out_c, words = l->words;
    int8_t *next = out + channels;
    for (int c = 0; c < channels; c += 2) {
        int32_t sum[4] = {bias[c], bias[c + 1], bias[c], bias[c + 1]};
        ep_dot_2x2(w, columns, words, sum);
        w += 2 * words;
        const uint32_t m0 = output.multiplier[c], m1 = output.multiplier[c + 1];
        const int32_t s0 = output.shift[c], s1 = output.shift[c + 1];
        const int pair = c + 1 < channels;
        out[c] = ep_byte(&output, sum[0], m0, s0, exact);
        if (pair) {
            out[c + 1] = ep_byte(&output, sum[1], m1, s1, exact);
        }
        if (both) {
            next[c] = ep_byte(&output, sum[2], m0, s0, exact);
            if (pair) {
                next[c + 1] = ep_byte(&output, sum[3], m1, s1, exact);
            }
        }
    }
}

/* ``scratch``: two columns of 2 * words words, and behind them words + 1 for one of bytes. */
EP_INLINE void ep_conv_any(const ep_conv *l, const int8_t *in, int8_t *out, ep_word *scratch,
                           const int exact)
{
    int8_t *const bytes = (int8_t *)(scratch + 4 * l->words);
    int filled = 0;
    for (int oy = 0; oy < l->out_h; ++oy) {
        const int y = oy * l->stride_h - l->pad_top;
        for (int ox = 0; ox < l->out_w; ++ox) {
            ep_conv_gather(l, in, y, ox * l->stride_w - l->pad_left, scratch + filled, bytes);
            if (filled) {
                ep_conv_columns(l, scratch, out, 1, exact);
                out += 2 * l->out_c;
            }
            filled = !filled;
        }
    }
    if (filled) {
        ep_conv_columns(l, scratch, out, 0, exact);
    }
}

EP_KERNEL void ep_conv_fast(const ep_conv *l, const int8_t *in, int8_t *out, ep_word *scratch)
{
    ep_conv_any(l, in, out, scratch, 0);
}

EP_KERNEL void ep_conv_exact(const ep_conv *l, const int8_t *in, int8_t *out, ep_word *scratch)
{
    ep_conv_any(l, in, out, scratch, 1);
}

#endif
