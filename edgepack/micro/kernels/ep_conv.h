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
    const int32_t *bias;    /* one a channel, the pair's second too */
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

/* The bytes under the kernel at (y, x), row by row, as one column of whole words. */
EP_INLINE void ep_conv_gather(const ep_conv *l, const int8_t *in, int y, int x, int8_t *to)
{
    const int taps = l->dilation_w == 1 ? 1 : l->kernel_w; /* runs in a kernel row */
    const int wide = l->dilation_w == 1 ? l->kernel_w : 1; /* pixels in a run */
    for (int ky = 0; ky < l->kernel_h; ++ky) {
        const int iy = y + ky * l->dilation_h;
        for (int tap = 0; tap < taps; ++tap) {
            const int ix = x + tap * l->dilation_w;
            int left = 0, right = 0; /* pixels of the run outside the picture */
            if (iy < 0 || iy >= l->in_h) {
                left = wide;
            } else {
                left = ep_clamp(-ix, 0, wide);
                right = ep_clamp(ix + wide - l->in_w, 0, wide - left);
            }
            const int inside = (wide - left - right) * l->in_c;
            if (left) {
                memset(to, l->in_zero, (size_t)(left * l->in_c));
                to += left * l->in_c;
            }
            if (inside) {
                memcpy(to, in + (iy * l->in_w + ix + left) * l->in_c, (size_t)inside);
                to += inside;
            }
            if (right) {
                memset(to, l->in_zero, (size_t)(right * l->in_c));
                to += right * l->in_c;
            }
        }
    }
}

/* All channels of one or two neighbouring output pixels. */
EP_INLINE void ep_conv_columns(const ep_conv *l, const ep_word *a, const ep_word *b, int8_t *out,
                               const int both, const int exact)
{
    const ep_word *w = l->weights;
    int8_t *next = out + l->out_c;
    for (int c = 0; c < l->out_c; c += 2) {
        int32_t sum[4] = {l->bias[c], l->bias[c + 1], l->bias[c], l->bias[c + 1]};
#if EP_DSP
        ep_dot_2x2(w, a, b, l->words, sum);
#else
        ep_dot_2x1(w, (const int8_t *)a, l->words, sum);
        ep_dot_2x1(w, (const int8_t *)b, l->words, sum + 2);
#endif
        w += 2 * l->words;
        const int pair = c + 1 < l->out_c;
        out[c] = ep_byte(&l->output, sum[0], c, exact);
        if (pair) {
            out[c + 1] = ep_byte(&l->output, sum[1], c + 1, exact);
        }
        if (both) {
            next[c] = ep_byte(&l->output, sum[2], c, exact);
            if (pair) {
                next[c + 1] = ep_byte(&l->output, sum[3], c + 1, exact);
            }
        }
    }
}

/* ``scratch``: two columns of 2 * words words, and behind them one of words words. */
EP_INLINE void ep_conv_any(const ep_conv *l, const int8_t *in, int8_t *out, ep_word *scratch,
                           const int exact)
{
    ep_word *const a = scratch, *const b = scratch + 2 * l->words;
    ep_word *const bytes = scratch + 4 * l->words;
    int filled = 0;
    for (int y = 0; y < l->out_h; ++y) {
        for (int x = 0; x < l->out_w; ++x) {
            ep_word *column = filled ? b : a;
            ep_conv_gather(l, in, y * l->stride_h - l->pad_top, x * l->stride_w - l->pad_left,
                           (int8_t *)(EP_DSP ? bytes : column));
#if EP_DSP
            ep_widen(column, (const int8_t *)bytes, l->words);
#endif
            if (filled) {
                ep_conv_columns(l, a, b, out, 1, exact);
                out += 2 * l->out_c;
            }
            filled = !filled;
        }
    }
    if (filled) {
        ep_conv_columns(l, a, a, out, 0, exact);
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
