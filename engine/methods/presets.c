/* The budgets the paper ran (arXiv 2504.17768, appendix), by method, prompt length and sparsity level.
 *
 * A preset is a position in these tables. At a tabulated length the values are the paper's; elsewhere they
 * are interpolated between levels and scaled by the share of the prompt at the nearest tabulated length. */
#include "methods.h"

#include <stdio.h>
#include <string.h>

enum { LEVELS = 10 };
static const double ten[LEVELS] = { .95, .933, .9, .867, .8, .7, .6, .5, .4, .3 };
static const double seven[LEVELS] = { .95, .933, .9, .867, .8, .667, .5 };

struct row { int n; double v[LEVELS]; };

static const struct row vertical_slash[] = {
    { 16384, { 164, 240, 315, 400, 448, 576, 768, 1024, 1536, 2304 } },
    { 32768, { 290, 384, 448, 576, 704, 1024, 1536, 2304, 3584, 4608 } },
    { 65536, { 400, 448, 544, 640, 960, 1280, 2304, 4096, 6144, 8192 } },
    { 128000, { 480, 768, 1024, 1536, 2048, 3584, 5632, 10240, 13312, 18432 } },
};
static const struct row flex_alpha[] = {
    { 16384, { 0, 0, 0, 0, .55, .71, .88 } },
    { 32768, { 0, 0, .45, .6, .7, .8, .92 } },
    { 65536, { 0, .45, .55, .7, .77, .85, .94 } },
};
static const struct row flex_min[] = {
    { 16384, { 164, 240, 315, 400, 512, 512, 512 } },
    { 32768, { 290, 384, 512, 512, 512, 512, 512 } },
    { 65536, { 400, 512, 512, 512, 512, 512, 512 } },
};
static const struct row block_sparse[] = {
    { 16384, { 26, 35, 53, 71, 108, 188, 300 } },
    { 32768, { 52, 69, 105, 141, 216, 376, 600 } },
    { 65536, { 104, 139, 210, 283, 432, 752, 1200 } },
};
static const struct row snapkv[] = {
    { 16384, { 819, 1092, 1638, 2183, 3276, 4915, 6553, 8192, 9830, 11468 } },
    { 32768, { 1638, 2185, 3276, 4367, 6553, 9830, 13107, 16384, 19660, 22937 } },
    { 65536, { 3276, 4371, 6553, 8735, 13107, 19660, 26214, 32768, 39321, 45875 } },
};
static const struct row quest[] = {
    { 16384, { 816, 1088, 1632, 2176, 3280, 4912, 6560, 8192, 9824, 11472 } },
    { 32768, { 1632, 2192, 3280, 4368, 6560, 9824, 13104, 16384, 19664, 22944 } },
    { 65536, { 3280, 4368, 6560, 8736, 13104, 19664, 26208, 32768, 39328, 45872 } },
    { 128000, { 6400, 8544, 12800, 17056, 25600, 38400, 51200, 64000, 76800, 89600 } },
};

/* unit: values are multiples of it, 0 for a share; scaled: a count that grows with the prompt; floor: the
 * option whose members are always kept, so the budget never falls below it. */
static const struct preset {
    const char *method, *param;
    const struct row *row;
    int n_rows, unit;
    const double *level;
    int n_levels;
    bool scaled;
    const char *floor[2];
} preset[] = {
    { "vertical_slash",
      "vertical_size",
      vertical_slash,
      SAC_COUNT(vertical_slash),
      1,
      ten,
      10,
      true,
      { "sink" } },
    { "vertical_slash",
      "slash_size",
      vertical_slash,
      SAC_COUNT(vertical_slash),
      1,
      ten,
      10,
      true,
      { "local" } },
    { "flexprefill", "alpha", flex_alpha, SAC_COUNT(flex_alpha), 0, seven, 7, false, { NULL } },
    { "flexprefill", "min_budget", flex_min, SAC_COUNT(flex_min), 1, seven, 7, true, { "local" } },
    { "block_sparse", "top_blocks", block_sparse, SAC_COUNT(block_sparse), 1, seven, 7, true, { NULL } },
    { "snapkv", "capacity", snapkv, SAC_COUNT(snapkv), 1, ten, 10, true, { "sink", "local" } },
    { "ada_snapkv", "capacity", snapkv, SAC_COUNT(snapkv), 1, ten, 10, true, { "sink", "local" } },
    { "quest", "token_budget", quest, SAC_COUNT(quest), 16, ten, 10, true, { NULL } },
};

static double at_level(const struct preset *p, const struct row *row, double s)
{
    int i = 0;
    while (i + 1 < p->n_levels && p->level[i + 1] >= s) i++;
    if (s >= p->level[0] || i + 1 == p->n_levels) return row->v[i];
    double t = (p->level[i] - s) / (p->level[i] - p->level[i + 1]);
    return row->v[i] + t * (row->v[i + 1] - row->v[i]);
}

static const struct row *nearest_row(const struct preset *p, int n)
{
    const struct row *best = p->row;
    for (int i = 1; i < p->n_rows; i++)
        if (fabs(log((double)p->row[i].n / n)) < fabs(log((double)best->n / n))) best = &p->row[i];
    return best;
}

enum sac_code preset_apply(struct sac_part *part, int n, struct sac_err *err)
{
    bool found = false;
    for (int i = 0; i < SAC_COUNT(preset); i++) {
        const struct preset *p = &preset[i];
        if (strcmp(p->method, part->m->name)) continue;
        found = true;
        const struct row *row = nearest_row(p, n);
        double v = at_level(p, row, part->preset), least = 0;
        if (p->scaled) v *= (double)n / row->n;
        for (int f = 0; f < 2 && p->floor[f]; f++) least += sac_part_get(part, p->floor[f]);
        if (p->floor[1]) least += 1;
        if (p->unit == 1) v = floor(v + 0.5);
        if (p->unit > 1) {
            double unit = sac_part_get(part, "page_size");
            v = fmax(floor(v / unit + 0.5), 1) * unit;
        }
        opts_put(part->m, part->opts.bytes, p->param, fmax(v, least));
    }
    /* block_sparse counts blocks of 16; other block sizes take the same share of the prompt. */
    if (!strcmp(part->m->name, "block_sparse")) {
        double k = sac_part_get(part, "top_blocks") * 16 / sac_part_get(part, "block_size");
        opts_put(part->m, part->opts.bytes, "top_blocks", fmax(floor(k + 0.5), 3));
    }
    if (found) return SAC_OK;
    return sac_fail(err, SAC_EARG, "%s: the paper has no budgets for it: use sparsity=%g", part->m->name,
                    part->preset);
}
