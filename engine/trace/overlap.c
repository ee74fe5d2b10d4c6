/* Overlap of selections: do the heads of a group, consecutive steps and neighbouring layers read the same
 * keys? */
#include "trace/trace_int.h"

#include <math.h>
#include <stdlib.h>

enum { PROMPT_ROWS = 6, ANSWER_ROWS = 12 };

/* |A and B| / |A or B| of two sorted lists of runs. */
static double jaccard(const struct sac_rows *a, const struct sac_rows *b)
{
    int i = 0, j = 0;
    long both = 0;
    while (i < a->n && j < b->n) {
        int lo = a->run[i].lo > b->run[j].lo ? a->run[i].lo : b->run[j].lo;
        int hi = a->run[i].hi < b->run[j].hi ? a->run[i].hi : b->run[j].hi;
        if (hi > lo) both += hi - lo;
        if (a->run[i].hi < b->run[j].hi) i++;
        else j++;
    }
    long any = (long)sac_rows_count(a) + sac_rows_count(b) - both;
    return any > 0 ? (double)both / (double)any : 1.0;
}

struct pair { struct sac_rows a, b; double sum[3]; long n[3]; };
enum { GROUP, STEPS, LAYERS };

static void add(struct pair *p, int kind)
{
    p->sum[kind] += jaccard(&p->a, &p->b);
    p->n[kind]++;
}

static void overlap_row(const struct sac_trace *t, int lane, int row, bool next_row, struct pair *p)
{
    const struct sac_shape *s = &t->info.shape;
    int group = s->n_heads / s->n_kv_heads;
    for (int l = 0; l < s->n_layers; l++)
        for (int h = 0; h < s->n_heads; h++) {
            if (!sac_trace_rows(t, lane, l, h, row, &p->a)) continue;
            for (int o = h + 1; o < (h / group + 1) * group; o++)
                if (sac_trace_rows(t, lane, l, o, row, &p->b)) add(p, GROUP);
            if (next_row && sac_trace_rows(t, lane, l, h, row + 1, &p->b)) add(p, STEPS);
            if (l + 1 < s->n_layers && sac_trace_rows(t, lane, l + 1, h, row, &p->b)) add(p, LAYERS);
        }
}

struct sac_overlap sac_trace_overlap(const struct sac_trace *t, int lane, bool decode)
{
    struct sac_overlap out = { (double)NAN, (double)NAN, (double)NAN };
    int n = t->info.n_prompt, rows = sac_trace_n_rows(t, lane, t->info.shape.n_layers - 1);
    int lo = decode ? n : 0,
        hi = decode     ? rows
             : n < rows ? n
                        : rows,
        want = decode ? ANSWER_ROWS : PROMPT_ROWS;
    if (hi <= lo) return out;
    size_t cap = (size_t)hi / 2 + 2;
    struct pair p = { .a = { malloc(cap * sizeof(struct sac_run)), 0, (int)cap },
                      .b = { malloc(cap * sizeof(struct sac_run)), 0, (int)cap } };
    if (p.a.run && p.b.run) {
        int count = hi - lo < want ? hi - lo : want;
        for (int i = 0; i < count; i++) {
            int row = lo + (int)((long long)(i + 1) * (hi - lo) / count) - 1;
            overlap_row(t, lane, row, decode && row + 1 < hi, &p);
        }
        out.group = p.n[GROUP] ? p.sum[GROUP] / (double)p.n[GROUP] : (double)NAN;
        out.steps = p.n[STEPS] ? p.sum[STEPS] / (double)p.n[STEPS] : (double)NAN;
        out.layers = p.n[LAYERS] ? p.sum[LAYERS] / (double)p.n[LAYERS] : (double)NAN;
    }
    free(p.a.run);
    free(p.b.run);
    return out;
}
