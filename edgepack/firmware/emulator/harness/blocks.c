/* Tells which instructions firmware executed, block by block, and which branches were taken.
 *
 * For qemu-system-arm 7.2 (plugin API 1) of Debian bookworm, which packages no plugin header:
 * the few functions used are declared here as qemu-plugin.h of that release documents them.
 * At the end each translated block is told in the file out=FILE, then its instructions,
 * disassembled:
 *
 *     edgepack-block START RUNS TAKEN
 *     edgepack-insn TEXT
 *
 * A block's last branch was taken where the next block does not begin at its end.
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
extern void qemu_plugin_register_vcpu_tb_trans_cb(
    qemu_plugin_id_t, void (*)(qemu_plugin_id_t, struct qemu_plugin_tb *));
extern void qemu_plugin_register_vcpu_tb_exec_cb(
    struct qemu_plugin_tb *, void (*)(unsigned, void *), int flags, void *);
extern void qemu_plugin_register_atexit_cb(
    qemu_plugin_id_t, void (*)(qemu_plugin_id_t, void *), void *);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
extern uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);
extern size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *);
extern char *qemu_plugin_insn_disas(const struct qemu_plugin_insn *);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

struct block {
    uint64_t start, end, runs, taken;
    size_t count;
    char **texts;
    struct block *next;
};
static struct block *blocks, *last;

static void executed(unsigned vcpu, void *data)
{
    struct block *block = data;
    (void)vcpu;
    if (last && last->end != block->start)
        last->taken++;
    block->runs++;
    last = block;
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    size_t count = qemu_plugin_tb_n_insns(tb);
    struct block *block = calloc(1, sizeof *block);
    (void)id;
    if (!block || !(block->texts = calloc(count, sizeof *block->texts))) {
        fputs("edgepack-block no memory\n", stderr);
        exit(125);
    }
    for (size_t i = 0; i < count; i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        if (!i)
            block->start = qemu_plugin_insn_vaddr(insn);
        block->end = qemu_plugin_insn_vaddr(insn) + qemu_plugin_insn_size(insn);
        block->texts[i] = qemu_plugin_insn_disas(insn);
    }
    block->count = count;
    block->next = blocks;
    blocks = block;
    qemu_plugin_register_vcpu_tb_exec_cb(tb, executed, 0, block);
}

static void finished(qemu_plugin_id_t id, void *data)
{
    FILE *out = data;
    (void)id;
    for (const struct block *block = blocks; block; block = block->next) {
        if (!block->runs)
            continue;
        fprintf(out, "edgepack-block %" PRIx64 " %" PRIu64 " %" PRIu64 "\n", block->start,
                block->runs, block->taken);
        for (size_t i = 0; i < block->count; i++)
            fprintf(out, "edgepack-insn %s\n", block->texts[i] ? block->texts[i] : "?");
    }
    fclose(out);
}

__attribute__((visibility("default"))) int qemu_plugin_install(
    qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
    FILE *out = argc == 1 && !strncmp(argv[0], "out=", 4) ? fopen(argv[0] + 4, "w") : NULL;
    (void)info;
    if (!out)
        return -1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, finished, out);
    return 0;
}
