/* SPDX-License-Identifier: Apache-2.0 */
/* Products of weights and bytes: the inside of CONV_2D, FULLY_CONNECTED and the LSTM.
 *
 * Weights lie in groups of output channels, four or two: a word (four bytes along the sum) of
 * the first channel, a word of the second …, then the next word of the first. A row is padded
 * with zeros to whole words, and a last odd channel has a row of zeros beside it.
 */
#ifndef EP_DOT_H
#define EP_DOT_H

#include "ep_base.h"

/* Four channels times one column of bytes. */
EP_INLINE void ep_dot_4x1(const ep_word *w, const int8_t *x, int words, int32_t sum[4])
{
    int32_t s0 = sum[0], s1 = sum[1], s2 = sum[2], s3 = sum[3];
#if EP_DSP
    uint32_t w0, w1, x02, x13, t;
    if (words <= 0) {
        return;
    }
    __asm__ volatile("1:\n"
                     "ldr %[t], [%[x]], #4\n"
                     "ldrd %[w0], %[w1], [%[w]], #8\n"
                     "sxtb16 %[a], %[t]\n"
                     "sxtb16 %[b], %[t], ror #8\n"
                     "sxtb16 %[t], %[w0]\n"
                     "smlad %[s0], %[t], %[a], %[s0]\n"
                     "sxtb16 %[t], %[w0], ror #8\n"
                     "smlad %[s0], %[t], %[b], %[s0]\n"
                     "sxtb16 %[t], %[w1]\n"
                     "smlad %[s1], %[t], %[a], %[s1]\n"
                     "sxtb16 %[t], %[w1], ror #8\n"
                     "smlad %[s1], %[t], %[b], %[s1]\n"
                     "ldrd %[w0], %[w1], [%[w]], #8\n"
                     "sxtb16 %[t], %[w0]\n"
                     "smlad %[s2], %[t], %[a], %[s2]\n"
                     "sxtb16 %[t], %[w0], ror #8\n"
                     "smlad %[s2], %[t], %[b], %[s2]\n"
                     "sxtb16 %[t], %[w1]\n"
                     "smlad %[s3], %[t], %[a], %[s3]\n"
                     "sxtb16 %[t], %[w1], ror #8\n"
                     "smlad %[s3], %[t], %[b], %[s3]\n"
                     "subs %[n], %[n], #1\n"
                     "bne 1b\n"
                     : [w] "+r"(w), [x] "+r"(x), [n] "+r"(words), [s0] "+r"(s0), [s1] "+r"(s1),
                       [s2] "+r"(s2), [s3] "+r"(s3), [w0] "=&r"(w0), [w1] "=&r"(w1),
                       [a] "=&r"(x02), [b] "=&r"(x13), [t] "=&r"(t)
                     :
                     : "cc", "memory");
#else
    for (; words > 0; --words) {
        const int8_t *row = (const int8_t *)w;
        for (int i = 0; i < 4; ++i) {
            s0 += row[i] * x[i];
            s1 += row[4 + i] * x[i];
            s2 += row[8 + i] * x[i];
            s3 += row[12 + i] * x[i];
        }
        w += 4;
        x += 4;
    }
#endif
    sum[0] = s0, sum[1] = s1, sum[2] = s2, sum[3] = s3;
}

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
    sum[0] = s0, sum[1] = s1;
}

/* Four or two (``group``, a constant) channels times any number of bytes, of which none behind
 * the last is read. Returns where the next group of channels begins. */
EP_INLINE const ep_word *ep_dot_row(const ep_word *w, const int8_t *x, int bytes, int32_t *sum,
                                    const int group)
{
    const int whole = bytes / 4, rest = bytes % 4;
    uint32_t last = 0;
    if (rest) {
        memcpy(&last, x + 4 * whole, (size_t)rest);
    }
    if (group == 4) {
        ep_dot_4x1(w, x, whole, sum);
        ep_dot_4x1(w + 4 * whole, (const int8_t *)&last, rest > 0, sum);
    } else {
        ep_dot_2x1(w, x, whole, sum);
        ep_dot_2x1(w + 2 * whole, (const int8_t *)&last, rest > 0, sum);
    }
    return w + group * (whole + (rest > 0));
}

/* Two columns side by side, four words for every four bytes of each. With the DSP extension
 * they are widened to halves: bytes 0 2 of the first column, of the second, bytes 1 3 of the
 * first, of the second. Without it two words hold the bytes as they are. */
#if EP_DSP
#define EP_COLUMN_STEP 4
EP_INLINE void ep_widen(ep_word *to, const int8_t *from, int words)
{
    for (; words >= 2; words -= 2) {
        const uint32_t x = ep_load(from), y = ep_load(from + 4);
        to[0] = ep_widen_02(x);
        to[2] = ep_widen_13(x);
        to[4] = ep_widen_02(y);
        to[6] = ep_widen_13(y);
        to += 8;
        from += 8;
    }
    if (words > 0) {
        const uint32_t x = ep_load(from);
        to[0] = ep_widen_02(x);
        to[2] = ep_widen_13(x);
    }
}
#else
#define EP_COLUMN_STEP 2
EP_INLINE void ep_widen(ep_word *to, const int8_t *from, int words)
{
    for (int i = 0; i < words; ++i) {
        to[2 * i] = ep_load(from + 4 * i);
    }
}
#endif

/* Two channels times both columns: sums of the first column, then of the second. */
EP_INLINE void ep_dot_2x2(const ep_word *w, const ep_word *columns, int words, int32_t sum[4])
{
#if EP_DSP
    int32_t a0 = sum[0], a1 = sum[1], b0 = sum[2], b1 = sum[3];
    uint32_t w0, w1, x, y, t;
#define EP_STEP                                                                             \
    "ldrd %[w0], %[w1], [%[w]], #8\n"                                                       \
    "ldrd %[x], %[y], [%[c]], #8\n"                                                         \
    "sxtb16 %[t], %[w0]\n"                                                                  \
    "smlad %[a0], %[t], %[x], %[a0]\n"                                                      \
    "smlad %[b0], %[t], %[y], %[b0]\n"                                                      \
    "sxtb16 %[t], %[w1]\n"                                                                  \
    "smlad %[a1], %[t], %[x], %[a1]\n"                                                      \
    "smlad %[b1], %[t], %[y], %[b1]\n"                                                      \
    "ldrd %[x], %[y], [%[c]], #8\n"                                                         \
    "sxtb16 %[t], %[w0], ror #8\n"                                                          \
    "smlad %[a0], %[t], %[x], %[a0]\n"                                                      \
    "smlad %[b0], %[t], %[y], %[b0]\n"                                                      \
    "sxtb16 %[t], %[w1], ror #8\n"                                                          \
    "smlad %[a1], %[t], %[x], %[a1]\n"                                                      \
    "smlad %[b1], %[t], %[y], %[b1]\n"
    __asm__ volatile("lsrs %[n], %[n], #1\n"
                     "bcc 1f\n" EP_STEP "1:\n"
                     "cbz %[n], 3f\n"
                     "2:\n" EP_STEP EP_STEP "subs %[n], %[n], #1\n"
                     "bne 2b\n"
                     "3:\n"
                     : [w] "+r"(w), [c] "+r"(columns), [n] "+l"(words), [a0] "+r"(a0),
                       [a1] "+r"(a1), [b0] "+r"(b0), [b1] "+r"(b1), [w0] "=&r"(w0),
                       [w1] "=&r"(w1), [x] "=&r"(x), [y] "=&r"(y), [t] "=&r"(t)
                     :
                     : "cc", "memory");
#undef EP_STEP
    sum[0] = a0, sum[1] = a1, sum[2] = b0, sum[3] = b1;
#else
    for (int i = 0; i < words; ++i) {
        const int8_t *row = (const int8_t *)w, *x = (const int8_t *)columns;
        for (int k = 0; k < 4; ++k) {
            sum[0] += row[k] * x[k];
            sum[1] += row[4 + k] * x[k];
            sum[2] += row[k] * x[4 + k];
            sum[3] += row[4 + k] * x[4 + k];
        }
        w += 2;
        columns += 2;
    }
#endif
}

#endif
