/* SPDX-License-Identifier: Apache-2.0 */
/* UNIDIRECTIONAL_SEQUENCE_LSTM: bytes in and out, gates and cell in 16 bits.
 *
 * The state stays from one call to the next, as TFLM keeps it.
 */
#ifndef EP_LSTM_H
#define EP_LSTM_H

#include "ep_dot.h"

/* A gate's two products, of the input and of the state, each with a scale of its own. */
typedef struct {
    const ep_word *weights[2];
    const int32_t *bias[2];
    uint32_t multiplier[2];
    int8_t shift[2];
} ep_gate;

typedef struct {
    ep_gate forget, input, cell, output;
    const uint16_t *sigmoid;       /* of 0 … 10.7 in 256 steps, as 0.16 */
    uint32_t multiplier[3];        /* forget times cell, input times cell, output times tanh */
    int8_t shift[3];
    int16_t tanh_multiplier;       /* brings the cell to the table's scale */
    int8_t tanh_shift;
    int16_t clip;                  /* of the cell; 0 leaves it */
    int16_t zero;                  /* of the output */
    int16_t steps, inputs, units;
} ep_lstm;

EP_INLINE int16_t ep_clamp_half(int32_t x)
{
    return (int16_t)ep_clamp(x, -32768, 32767);
}

EP_INLINE int16_t ep_sigmoid(const uint16_t *table, int32_t x)
{
    x *= 3; /* 3/4 of the step, four times finer */
    const uint32_t size = (uint32_t)(x < 0 ? -x : x), at = size >> 9;
    uint32_t y = 0x7fffu << 10;
    if (at < 255) {
        y = ((uint32_t)table[at] << 9) + (size & 0x1ff) * (uint32_t)(table[at + 1] - table[at]);
    }
    y = x >= 0 ? y + (1 << 9) : (1u << 25) - y + (1 << 9) - 1;
    return (int16_t)(y >> 10);
}

EP_INLINE int16_t ep_tanh(const uint16_t *table, int32_t x, int32_t multiplier, int shift)
{
    x = (x * multiplier + (shift > 0 ? 1 << (shift - 1) : 0)) >> shift;
    const uint32_t size = (uint32_t)(x < 0 ? -x : x), at = size >> 8;
    int32_t y = 0xffff << 8;
    if (at < 255) {
        y = (int32_t)(((uint32_t)table[at] << 8)
                      + (size & 0xff) * (uint32_t)(table[at + 1] - table[at]));
    }
    y = x >= 0 ? y - (1 << 23) + (1 << 7) : -y + (1 << 23) + (1 << 7) - 1;
    return (int16_t)(y >> 8);
}

EP_INLINE void ep_gate_sums(const ep_lstm *l, const ep_gate *gate, const int8_t *in,
                            const int8_t *state, ep_half *out, const int is_tanh)
{
    const ep_word *w = gate->weights[0], *v = gate->weights[1];
    for (int c = 0; c < l->units; c += 2) {
        int32_t x[2] = {gate->bias[0][c], gate->bias[0][c + 1]};
        int32_t h[2] = {gate->bias[1][c], gate->bias[1][c + 1]};
        w = ep_dot_row(w, in, l->inputs, x, 2);
        v = ep_dot_row(v, state, l->units, h, 2);
        for (int i = 0; i < 2 && c + i < l->units; ++i) {
            const int32_t a = ep_clamp_half(ep_scale(x[i], gate->multiplier[0], gate->shift[0]));
            const int32_t b = ep_clamp_half(ep_scale(h[i], gate->multiplier[1], gate->shift[1]));
            const int32_t sum = ep_clamp_half(a + b);
            out[c + i] = is_tanh ? ep_tanh(l->sigmoid, sum, 3, 0) : ep_sigmoid(l->sigmoid, sum);
        }
    }
}

/* ``scratch``: four halves a unit. ``state`` and ``cell`` hold one value a unit each. */
EP_KERNEL void ep_lstm_run(const ep_lstm *l, const int8_t *in, int8_t *state, ep_half *cell,
                           int8_t *out, ep_half *scratch)
{
    ep_half *const forget = scratch, *const input = forget + l->units;
    ep_half *const fresh = input + l->units, *const gate = fresh + l->units;
    for (int step = 0; step < l->steps; ++step) {
        ep_gate_sums(l, &l->forget, in, state, forget, 0);
        ep_gate_sums(l, &l->input, in, state, input, 0);
        ep_gate_sums(l, &l->cell, in, state, fresh, 1);
        ep_gate_sums(l, &l->output, in, state, gate, 0);
        for (int i = 0; i < l->units; ++i) {
            const int32_t kept = ep_clamp_half(
                ep_scale(forget[i] * cell[i], l->multiplier[0], l->shift[0]));
            const int32_t added = ep_clamp_half(
                ep_scale(input[i] * fresh[i], l->multiplier[1], l->shift[1]));
            int32_t c = ep_clamp_half(kept + added);
            if (l->clip > 0) {
                c = ep_clamp(c, -l->clip, l->clip);
            }
            cell[i] = (int16_t)c;
            const int32_t h = ep_tanh(l->sigmoid, c, l->tanh_multiplier, l->tanh_shift) * gate[i];
            const int32_t y = ep_scale(h, l->multiplier[2], l->shift[2]) + l->zero;
            state[i] = (int8_t)ep_clamp(y, -128, 127);
        }
        memcpy(out, state, (size_t)l->units);
        in += l->inputs;
        out += l->units;
    }
}

#endif
