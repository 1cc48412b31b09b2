/* Counts the instructions a guest executes, by class, between marks that the guest sets.
 *
 * For qemu-user 7.2 (plugin API 1) of Debian bookworm, which packages no plugin header: the
 * few functions used are declared here as qemu-plugin.h of that release documents them.
 *
 * The guest marks a moment by getpgid(0x7ED00000 | i), a call that finds no process and
 * changes nothing. At each mark one line goes to the emulator's stderr:
 *
 *     edgepack-count i int muldiv load store simd branch other
 *
 * with totals since the start; the difference of two lines is what ran between them. Each
 * translated block carries its own tally by class and counts only how often it ran, with
 * one inline addition, so the cost is small and no count depends on time. Nothing is counted
 * before the mark 0xFFFFF, at which all code is translated anew: the start of an interpreter
 * is most of the code and none of the question.
 *
 * Classes: load and store take scalar and vector accesses alike; simd is vector and scalar
 * floating point; muldiv is integer; branch includes calls and returns by branch (a return
 * by loading the program counter is a load); other could not be disassembled.
 */
#include <ctype.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum qemu_plugin_op { QEMU_PLUGIN_INLINE_ADD_U64 };
typedef struct {
    const char *target_name;
    struct { int min, cur; } version;
    bool system_emulation;
    struct { int smp_vcpus, max_vcpus; } system;
} qemu_info_t;

extern void qemu_plugin_register_vcpu_tb_trans_cb(
    qemu_plugin_id_t, void (*)(qemu_plugin_id_t, struct qemu_plugin_tb *));
extern void qemu_plugin_register_vcpu_tb_exec_inline(
    struct qemu_plugin_tb *, enum qemu_plugin_op, void *, uint64_t);
extern void qemu_plugin_register_vcpu_syscall_cb(
    qemu_plugin_id_t, void (*)(qemu_plugin_id_t, unsigned, int64_t, uint64_t, uint64_t,
                               uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t));
extern void qemu_plugin_reset(qemu_plugin_id_t, void (*)(qemu_plugin_id_t));
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
extern char *qemu_plugin_insn_disas(const struct qemu_plugin_insn *);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

enum class { INT, MULDIV, LOAD, STORE, SIMD, BRANCH, OTHER, CLASSES };
static const uint64_t MARK = 0x7ED00000, MARK_MASK = 0xFFF00000, BEGIN = 0xFFFFF;

struct block {
    uint64_t runs;
    uint16_t tally[CLASSES];
    struct block *next;
};
static struct block *blocks; /* user mode translates under one lock, one guest thread runs */
static bool a64;
static int64_t getpgid_number;
static bool begun;

static bool starts(const char *word, const char *const *heads)
{
    for (; *heads; heads++)
        if (!strncmp(word, *heads, strlen(*heads)))
            return true;
    return false;
}

/* A vector or floating-point register among the operands of an A64 instruction. */
static bool a64_vector(const char *operands)
{
    bool fresh = true;
    for (const char *c = operands; *c; c++) {
        if (fresh && strchr("vqdshb", *c) && isdigit((unsigned char)c[1]))
            return true;
        fresh = !isalnum((unsigned char)*c) && *c != '#';
    }
    return false;
}

static bool is_branch(const char *word)
{
    static const char *const exact[] = {"b", "bl", "blx", "bx", "br", "blr", "ret", "cbz",
                                        "cbnz", "tbz", "tbnz", "tbb", "tbh", NULL};
    static const char conditions[] = "eq ne cs hs cc lo mi pl vs vc hi ls ge lt gt le al";
    if (!strncmp(word, "b.", 2))
        return true;
    for (int i = 0; exact[i]; i++)
        if (!strcmp(word, exact[i]))
            return true;
    size_t size = strlen(word);
    if (a64 || size < 3 || size > 5)
        return false;
    const char *condition = strstr(conditions, word + size - 2);
    if (!condition)
        return false;
    char head[4] = "";
    memcpy(head, word, size - 2);
    return !strcmp(head, "b") || !strcmp(head, "bl") || !strcmp(head, "bx") ||
           !strcmp(head, "blx");
}

static enum class classify(const char *text)
{
    static const char *const loads[] = {"ld", "pop", "vld", "vpop", NULL};
    static const char *const stores[] = {"st", "push", "vst", "vpush", NULL};
    static const char *const products[] = {
        "mul", "mla", "mls", "madd", "msub", "mneg", "smul", "smla", "smls", "smml", "smmu",
        "smua", "smus", "smadd", "smsub", "smneg", "umul", "umla", "umaal", "umadd", "umsub",
        "umneg", "sdiv", "udiv", NULL};
    if (!text)
        return OTHER;
    while (*text == ' ')
        text++;
    char word[24] = "";
    size_t size = strcspn(text, " \t");
    if (size == 0 || size >= sizeof word || *text == '.')
        return OTHER;
    memcpy(word, text, size);
    if (!a64) { /* width suffixes of Thumb-2 mean nothing here */
        char *dot = strstr(word, ".w");
        dot = dot ? dot : strstr(word, ".n");
        if (dot && !dot[2])
            *dot = 0;
    }
    if (starts(word, loads))
        return LOAD;
    if (starts(word, stores))
        return STORE;
    if (is_branch(word))
        return BRANCH;
    if (a64 ? word[0] == 'f' || a64_vector(text + size) : word[0] == 'v')
        return SIMD;
    return starts(word, products) ? MULDIV : INT;
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    (void)id;
    struct block *block = calloc(1, sizeof *block);
    if (!block) {
        fputs("edgepack-count: no memory\n", stderr);
        _exit(125);
    }
    size_t count = qemu_plugin_tb_n_insns(tb);
    for (size_t i = 0; i < count; i++) {
        char *text = qemu_plugin_insn_disas(qemu_plugin_tb_get_insn(tb, i));
        block->tally[classify(text)]++;
        if (getenv("EDGEPACK_COUNT_TEXT"))
            dprintf(2, "edgepack-text %d %s\n", classify(text), text ? text : "?");
        free(text);
    }
    block->next = blocks;
    blocks = block;
    qemu_plugin_register_vcpu_tb_exec_inline(tb, QEMU_PLUGIN_INLINE_ADD_U64, &block->runs, 1);
}

static void begin(qemu_plugin_id_t id);

static void called(qemu_plugin_id_t id, unsigned vcpu, int64_t number, uint64_t a1, uint64_t a2,
                   uint64_t a3, uint64_t a4, uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8)
{
    (void)vcpu, (void)a2, (void)a3, (void)a4, (void)a5, (void)a6, (void)a7, (void)a8;
    if (number != getpgid_number || (a1 & MARK_MASK) != MARK)
        return;
    if ((a1 & ~MARK_MASK) == BEGIN) {
        if (!begun)
            qemu_plugin_reset(id, begin);
        return;
    }
    uint64_t total[CLASSES] = {0};
    for (const struct block *block = blocks; block; block = block->next)
        for (int i = 0; i < CLASSES; i++)
            total[i] += block->runs * block->tally[i];
    dprintf(2, "edgepack-count %u %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64
               " %" PRIu64 " %" PRIu64 "\n", (unsigned)(a1 & ~MARK_MASK), total[INT],
            total[MULDIV], total[LOAD], total[STORE], total[SIMD], total[BRANCH], total[OTHER]);
}

/* Called when every translation and callback is gone. */
static void begin(qemu_plugin_id_t id)
{
    begun = true;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_vcpu_syscall_cb(id, called);
}

__attribute__((visibility("default"))) int qemu_plugin_install(
    qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv)
{
    (void)argc, (void)argv;
    if (!strcmp(info->target_name, "aarch64")) {
        a64 = true;
        getpgid_number = 155;
    } else if (!strcmp(info->target_name, "arm")) {
        getpgid_number = 132;
    } else {
        fprintf(stderr, "edgepack-count: no decoder for %s\n", info->target_name);
        return -1;
    }
    qemu_plugin_register_vcpu_syscall_cb(id, called);
    return 0;
}
