/* SPDX-License-Identifier: Apache-2.0 */
/* AVERAGE_POOL_2D, MAX_POOL_2D and MEAN over height and width. */
#ifndef EP_POOL_H
#define EP_POOL_H

#include "ep_base.h"

typedef struct {
    int16_t in_h, in_w, channels;
    int16_t out_h, out_w;
    int16_t kernel_h, kernel_w;
    int16_t stride_h, stride_w;
    int16_t pad_top, pad_left;
    int16_t low, high;
} ep_pool;

/* The part of the window at ``start`` that lies inside [0, size). */
EP_INLINE int ep_window(int start, int kernel, int size, int *count)
{
    const int first = start < 0 ? 0 : start;
    const int end = start + kernel < size ? start + kernel : size;
    *count = end - first;
    return first;
}

/* Whole-number mean, halves away from zero; only the pixels inside the picture count. */
EP_KERNEL void ep_average_pool(const ep_pool *l, const int8_t *in, int8_t *out)
{
    const int row = l->in_w * l->channels;
    for (int oy = 0; oy < l->out_h; ++oy) {
        int rows, columns;
        const int y = ep_window(oy * l->stride_h - l->pad_top, l->kernel_h, l->in_h, &rows);
        for (int ox = 0; ox < l->out_w; ++ox) {
            const int x = ep_window(ox * l->stride_w - l->pad_left, l->kernel_w, l->in_w,
                                    &columns);
            const int8_t *first = in + y * row + x * l->channels;
            const int32_t count = rows * columns;
            for (int c = 0; c < l->channels; ++c) {
                int32_t sum = 0;
                for (int ky = 0; ky < rows; ++ky) {
                    const int8_t *p = first + ky * row + c;
                    for (int kx = columns; kx > 0; --kx) {
                        sum += *p;
                        p += l->channels;
                    }
                }
                sum = (sum > 0 ? sum + count / 2 : sum - count / 2) / count;
                *out++ = (int8_t)ep_clamp(sum, l->low, l->high);
            }
        }
    }
}

EP_KERNEL void ep_max_pool(const ep_pool *l, const int8_t *in, int8_t *out)
{
    const int row = l->in_w * l->channels;
    for (int oy = 0; oy < l->out_h; ++oy) {
        int rows, columns;
        const int y = ep_window(oy * l->stride_h - l->pad_top, l->kernel_h, l->in_h, &rows);
        for (int ox = 0; ox < l->out_w; ++ox) {
            const int x = ep_window(ox * l->stride_w - l->pad_left, l->kernel_w, l->in_w,
                                    &columns);
            const int8_t *first = in + y * row + x * l->channels;
            for (int c = 0; c < l->channels; ++c) {
                int32_t most = -128;
                for (int ky = 0; ky < rows; ++ky) {
                    const int8_t *p = first + ky * row + c;
                    for (int kx = columns; kx > 0; --kx) {
                        most = *p > most ? *p : most;
                        p += l->channels;
                    }
                }
                *out++ = (int8_t)ep_clamp(most, l->low, l->high);
            }
        }
    }
}

typedef struct {
    int32_t outer, count, inner; /* the middle one of three dimensions is averaged */
    int32_t in_zero;             /* times count */
    int32_t multiplier;          /* with 1 / count in it */
    int8_t shift;
    int16_t zero;
} ep_average;

EP_KERNEL void ep_mean(const ep_average *l, const int8_t *in, int8_t *out)
{
    const int32_t left = l->shift > 0 ? l->shift : 0, right = l->shift > 0 ? 0 : -l->shift;
    for (int32_t i = 0; i < l->outer; ++i) {
        for (int32_t c = 0; c < l->inner; ++c) {
            const int8_t *p = in + c;
            int32_t sum = -l->in_zero;
            for (int32_t n = l->count; n > 0; --n) {
                sum += *p;
                p += l->inner;
            }
            sum = ep_fixed_product((int32_t)((uint32_t)sum << left), l->multiplier);
            *out++ = ep_saturate(ep_round_right(sum, right) + l->zero);
        }
        in += l->count * l->inner;
    }
}

/* The largest byte along the middle one of three dimensions. */
EP_KERNEL void ep_reduce_max(const int8_t *in, int8_t *out, int32_t outer, int32_t count,
                             int32_t inner)
{
    for (int32_t i = 0; i < outer; ++i) {
        for (int32_t c = 0; c < inner; ++c) {
            const int8_t *p = in + c;
            int32_t most = -128;
            for (int32_t n = count; n > 0; --n) {
                most = *p > most ? *p : most;
                p += inner;
            }
            *out++ = (int8_t)most;
        }
        in += count * inner;
    }
}

#endif
