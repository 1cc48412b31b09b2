/* SPDX-License-Identifier: Apache-2.0 */
/* Words, saturation and the two roundings that every quantized kernel shares.
 *
 * Plain C99 for any little-endian core; a core with the DSP extension (Cortex-M4, M7, M33,
 * M55, M85) takes the second path, which gives the same bits. Nothing here needs a heap, an
 * interpreter or floating point.
 */
#ifndef EP_BASE_H
#define EP_BASE_H

#include <stdint.h>
#include <string.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "weights are stored for little-endian cores"
#endif

#if defined(__clang__)
#define EP_KERNEL static __attribute__((noinline, unused))
#elif defined(__GNUC__)
#define EP_KERNEL static __attribute__((noinline, noclone, unused))
#else
#define EP_KERNEL static
#endif
#if defined(__GNUC__)
#define EP_INLINE static inline __attribute__((always_inline))
#define EP_ALIAS __attribute__((may_alias))
#else
#define EP_INLINE static inline
#define EP_ALIAS
#endif

#if defined(__ARM_FEATURE_DSP) && defined(__GNUC__) && !defined(EP_PORTABLE)
#define EP_DSP 1
#else
#define EP_DSP 0
#endif

/* The arena holds values of several types one after the other: these may overlay it. */
typedef uint32_t EP_ALIAS ep_word;
typedef int16_t EP_ALIAS ep_half;
typedef float EP_ALIAS ep_float;

EP_INLINE uint32_t ep_load(const void *bytes)
{
    uint32_t word;
    memcpy(&word, bytes, 4); /* one unaligned load where the core has it */
    return word;
}

EP_INLINE int32_t ep_clamp(int32_t x, int32_t low, int32_t high)
{
    return x < low ? low : x > high ? high : x;
}

#if EP_DSP
/* Bytes 0 and 2 of a word as two signed halves; _13 takes bytes 1 and 3. */
EP_INLINE uint32_t ep_widen_02(uint32_t x)
{
    uint32_t r;
    __asm__("sxtb16 %0, %1" : "=r"(r) : "r"(x));
    return r;
}
EP_INLINE uint32_t ep_widen_13(uint32_t x)
{
    uint32_t r;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(r) : "r"(x));
    return r;
}
/* The same with two halves added. */
EP_INLINE uint32_t ep_widen_add_02(uint32_t halves, uint32_t x)
{
    uint32_t r;
    __asm__("sxtab16 %0, %1, %2" : "=r"(r) : "r"(halves), "r"(x));
    return r;
}
EP_INLINE uint32_t ep_widen_add_13(uint32_t halves, uint32_t x)
{
    uint32_t r;
    __asm__("sxtab16 %0, %1, %2, ror #8" : "=r"(r) : "r"(halves), "r"(x));
    return r;
}
/* acc + both products of halves; _bb and _tt take the lower or the upper product only. */
EP_INLINE int32_t ep_mla2(uint32_t x, uint32_t y, int32_t acc)
{
    __asm__("smlad %0, %1, %2, %0" : "+r"(acc) : "r"(x), "r"(y));
    return acc;
}
EP_INLINE int32_t ep_mla_bb(uint32_t x, uint32_t y, int32_t acc)
{
    __asm__("smlabb %0, %1, %2, %0" : "+r"(acc) : "r"(x), "r"(y));
    return acc;
}
EP_INLINE int32_t ep_mla_tt(uint32_t x, uint32_t y, int32_t acc)
{
    __asm__("smlatt %0, %1, %2, %0" : "+r"(acc) : "r"(x), "r"(y));
    return acc;
}
#endif

/* round(x * multiplier / 2**32), halves up: the first of the two roundings.
 * ``multiplier`` is in [2**31, 2**32), so one signed multiply-accumulate does it:
 * x * m = x * (m - 2**32) + x * 2**32. */
EP_INLINE int32_t ep_high(int32_t x, uint32_t multiplier)
{
#if EP_DSP
    int32_t r;
    __asm__("smmlar %0, %1, %2, %1" : "=r"(r) : "r"(x), "r"(multiplier));
    return r;
#else
    return (int32_t)(((int64_t)x * (int32_t)(multiplier >> 1) + (1 << 30)) >> 31);
#endif
}

/* Any shift: left before the first rounding, right as the second, halves away from zero. */
EP_INLINE int32_t ep_scale(int32_t x, uint32_t multiplier, int32_t shift)
{
    if (shift >= 0) {
        return ep_high((int32_t)((uint32_t)x << shift), multiplier);
    }
    x = ep_high(x, multiplier);
    x = ((x + (x >> 31)) >> (-shift - 1)) + 1;
    return x >> 1;
}

/* The same for a right shift known to be at least one, less one in ``shift``; the output's
 * zero point comes in with the last rounding: ``bias`` = 2 * zero point + 1. */
EP_INLINE int32_t ep_scale_down(int32_t x, uint32_t multiplier, int32_t shift, int32_t bias)
{
    x = ep_high(x, multiplier);
    x = (x + (x >> 31)) >> shift;
    return (x + bias) >> 1;
}

/* The two roundings with any factor: round(a * b / 2**31), saturated, and a right shift. */
EP_INLINE int32_t ep_fixed_product(int32_t a, int32_t b)
{
    if (a == INT32_MIN && b == INT32_MIN) {
        return INT32_MAX;
    }
    return (int32_t)(((int64_t)a * b + (1 << 30)) >> 31);
}

EP_INLINE int32_t ep_round_right(int32_t x, int32_t bits)
{
    return bits == 0 ? x : (((x + (x >> 31)) >> (bits - 1)) + 1) >> 1;
}

EP_INLINE int8_t ep_saturate(int32_t x)
{
#if EP_DSP
    int32_t r;
    __asm__("ssat %0, #8, %1" : "=r"(r) : "r"(x));
    return (int8_t)r;
#else
    return (int8_t)ep_clamp(x, -128, 127);
#endif
}

/* How a layer's sums become bytes. ``shift`` is TFLM's where ``exact`` is passed to the
 * function below, else the right shift less one, and then the full int8 range is kept. */
typedef struct {
    const uint32_t *multiplier;
    const int8_t *shift;
    int16_t zero;
    int16_t low;
    int16_t high;
} ep_output;

EP_INLINE int8_t ep_byte(const ep_output *o, int32_t sum, uint32_t multiplier, int32_t shift,
                         const int exact)
{
    if (exact) {
        return (int8_t)ep_clamp(ep_scale(sum, multiplier, shift) + o->zero, o->low, o->high);
    }
    return ep_saturate(ep_scale_down(sum, multiplier, shift, 2 * o->zero + 1));
}

#endif
