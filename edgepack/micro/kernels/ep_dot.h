/* Products of weights and bytes: the inside of CONV_2D, FULLY_CONNECTED and the LSTM.
 *
 * Weights lie in pairs of output channels: a word (four bytes along the sum) of the first
 * channel, a word of the second, the next word of the first … A row is padded with zeros to
 * whole words and an odd number of channels with a row of zeros.
 */
#ifndef EP_DOT_H
#define EP_DOT_H

#include "ep_base.h"

/* Two channels times one column of bytes. */
EP_INLINE void ep_dot_2x1(const ep_word *w, const int8_t *x, int words, int32_t sum[2])
{
    int32_t s0 = sum[0], s1 = sum[1];
    for (; words > 0; --words) {
#if EP_DSP
        const uint32_t xw = ep_load(x), w0 = w[0], w1 = w[1];
        const uint32_t x02 = ep_widen_02(xw), x13 = ep_widen_13(xw);
        s0 = ep_mla2(ep_widen_02(w0), x02, s0);
        s1 = ep_mla2(ep_widen_02(w1), x02, s1);
        s0 = ep_mla2(ep_widen_13(w0), x13, s0);
        s1 = ep_mla2(ep_widen_13(w1), x13, s1);
#else
        const int8_t *row = (const int8_t *)w;
        for (int i = 0; i < 4; ++i) {
            s0 += row[i] * x[i];
            s1 += row[4 + i] * x[i];
        }
#endif
        w += 2;
        x += 4;
    }
    sum[0] = s0;
    sum[1] = s1;
}

/* The same for any number of bytes; nothing is read behind the last one. */
EP_INLINE const ep_word *ep_dot_row(const ep_word *w, const int8_t *x, int bytes, int32_t sum[2])
{
    const int whole = bytes / 4, rest = bytes % 4;
    ep_dot_2x1(w, x, whole, sum);
    w += 2 * whole;
    if (rest) {
        uint32_t last = 0;
        memcpy(&last, x + 4 * whole, (size_t)rest);
        ep_dot_2x1(w, (const int8_t *)&last, 1, sum);
        w += 2;
    }
    return w;
}

#if EP_DSP
/* Bytes to halves, in the order 0 2 1 3 of each word, which the weights give too. */
EP_INLINE ep_word *ep_widen(ep_word *to, const int8_t *from, int words)
{
    for (; words > 0; --words) {
        const uint32_t x = ep_load(from);
        to[0] = ep_widen_02(x);
        to[1] = ep_widen_13(x);
        to += 2;
        from += 4;
    }
    return to;
}

/* Two channels times two widened columns. */
EP_INLINE void ep_dot_2x2(const ep_word *w, const ep_word *a, const ep_word *b, int words,
                          int32_t sum[4])
{
    int32_t a0 = sum[0], a1 = sum[1], b0 = sum[2], b1 = sum[3];
    for (; words > 0; --words) {
        const uint32_t w0 = w[0], w1 = w[1];
        uint32_t x = a[0], y = b[0], t = ep_widen_02(w0);
        a0 = ep_mla2(t, x, a0);
        b0 = ep_mla2(t, y, b0);
        t = ep_widen_02(w1);
        a1 = ep_mla2(t, x, a1);
        b1 = ep_mla2(t, y, b1);
        x = a[1], y = b[1], t = ep_widen_13(w0);
        a0 = ep_mla2(t, x, a0);
        b0 = ep_mla2(t, y, b0);
        t = ep_widen_13(w1);
        a1 = ep_mla2(t, x, a1);
        b1 = ep_mla2(t, y, b1);
        w += 2;
        a += 2;
        b += 2;
    }
    sum[0] = a0, sum[1] = a1, sum[2] = b0, sum[3] = b1;
}
#endif

#endif
