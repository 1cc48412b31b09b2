/* Start-up and measuring for one model on an emulated Cortex-M: no C library, no operating
 * system. Vectors are loaded into memory by the emulator; results go out by semihosting.
 *
 * Counted are instructions, not cycles: under ``-icount`` each takes the same virtual time,
 * and a timer reads that time. The stack is painted below the frame of main, so
 * the figure is what one inference takes.
 */
#include <stdint.h>
#include <string.h>

#include "under_test.h"

extern uint32_t bss_start, bss_end, stack_bottom, stack_top;
void reset_handler(void);
void fault_handler(void);
void tick_handler(void);
int main(void);

static volatile uint32_t wraps;

__attribute__((section(".vectors"), used)) static void (*const vectors[16])(void) = {
    (void (*)(void))(uintptr_t)&stack_top, reset_handler, fault_handler, fault_handler,
    fault_handler, fault_handler, fault_handler, fault_handler, 0, 0, 0, fault_handler,
    fault_handler, 0, fault_handler, tick_handler};

#define REGISTER(address) (*(volatile uint32_t *)(address))

static int semihosting(int operation, const void *argument)
{
    register int r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static void say(const char *text)
{
    semihosting(0x04, text);
}

static void leave(int ok)
{
    semihosting(0x18, (const void *)(ok ? 0x20026u : 0x20023u));
    for (;;) {
    }
}

static void say_hex(uint32_t word)
{
    char text[10];
    for (int i = 0; i < 8; ++i) {
        text[i] = "0123456789abcdef"[(word >> (28 - 4 * i)) & 15];
    }
    text[8] = ' ';
    text[9] = 0;
    say(text);
}

void fault_handler(void)
{
    say("\nfault\n");
    leave(0);
}

void tick_handler(void)
{
    ++wraps;
}

void reset_handler(void)
{
    REGISTER(0xE000ED88) |= 0xFu << 20; /* CPACR: floating point and vectors */
    __asm__ volatile("dsb\n isb");
    for (uint32_t *p = &bss_start; p < &bss_end; ++p) {
        *p = 0;
    }
    leave(main());
}

/* A timer of 25 MHz that counts down 32 bits, or SysTick at 32 MHz and 24 bits. */
static void timer_start(void)
{
#if TIMER_SYSTICK
    wraps = 0;
    REGISTER(0xE000E010) = 0;
    REGISTER(0xE000E014) = 0xFFFFFF;
    REGISTER(0xE000E018) = 0;
    REGISTER(0xE000E010) = 7;
    while (REGISTER(0xE000E018) == 0) { /* loaded with the first tick */
    }
#else
    REGISTER(0x40000000) = 0;
    REGISTER(0x40000008) = 0xFFFFFFFF;
    REGISTER(0x40000004) = 0xFFFFFFFF;
    REGISTER(0x40000000) = 1;
#endif
}

static uint32_t timer_ticks(void)
{
#if TIMER_SYSTICK
    const uint32_t value = REGISTER(0xE000E018);
    return wraps * 0x1000000u + (0xFFFFFF - value);
#else
    return 0xFFFFFFFF - REGISTER(0x40000004);
#endif
}

#define PAINT 0xA5C35A3Cu

static uint32_t stack_pointer(void)
{
    uint32_t sp;
    __asm__ volatile("mov %0, sp" : "=r"(sp));
    return sp;
}

__attribute__((noinline)) static void paint(void)
{
    const uint32_t *const end = (const uint32_t *)stack_pointer() - 4;
    for (volatile uint32_t *p = &stack_bottom; p < end; ++p) {
        *p = PAINT;
    }
}

/* Bytes below ``top`` that something has written to since. */
static uint32_t used_below(uint32_t top)
{
    const uint32_t *p = &stack_bottom;
    while ((uint32_t)p < top && *p == PAINT) {
        ++p;
    }
    return top - (uint32_t)p;
}

static void say_bytes(const void *bytes, unsigned size)
{
    const uint8_t *next = bytes;
    for (; size >= 4; size -= 4, next += 4) {
        uint32_t word;
        memcpy(&word, next, 4);
        say_hex(word);
    }
    if (size) {
        uint32_t word = 0;
        memcpy(&word, next, size);
        say_hex(word);
    }
}

/* At VECTORS: how many there are, then the inputs one after the other. */
int main(void)
{
    const uint8_t *next = (const uint8_t *)VECTORS + 16;
    const uint32_t count = REGISTER(VECTORS);
    timer_start();
    const uint32_t idle = timer_ticks(); /* what reading the timer costs */
    for (uint32_t i = 0; i < count; ++i) {
        take_input(next);
        next += INPUT_BYTES;
        paint();
        timer_start();
        MODEL_INVOKE();
        const uint32_t ticks = timer_ticks();
        const uint32_t stack = used_below(stack_pointer());
        say("run ");
        say_hex(ticks - idle);
        say_hex(stack);
        give_output(say_bytes);
        say("\n");
    }
    say("done\n");
    return 1;
}
