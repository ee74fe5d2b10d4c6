/* Pages and evicted tokens over layers and KV heads, step by step; see vdata.h.
 *
 * A method that reads pages is shown by its own pages; token methods are binned by 16 so that both draw
 * alike. The dense top of a pair is as many pages as it reads, ranked by the group's mean dense mass. */
#include "vdata.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TOKEN_BIN = 16 };

static bool stopped(const atomic_bool *cancel)
{
    return cancel && atomic_load_explicit(cancel, memory_order_relaxed);
}

struct work {
    struct sac_trace *t;
    struct sac_trace_info info;
    const atomic_bool *cancel;
    int per;                       /* query heads of a KV head */
    float *w, *sum;                /* [n] one head's weights, the group's mean */
    unsigned char *kept;           /* [n] heads of the group that read the key */
    struct sac_run *run;
};

static bool work_open(struct work *k, struct sac_trace *t, int n, const atomic_bool *cancel)
{
    *k = (struct work){ .t = t, .cancel = cancel };
    sac_trace_info(t, &k->info);
    k->per = k->info.shape.n_heads / (k->info.shape.n_kv_heads > 0 ? k->info.shape.n_kv_heads : 1);
    k->w = malloc((size_t)n * sizeof *k->w);
    k->sum = malloc((size_t)n * sizeof *k->sum);
    k->kept = malloc((size_t)n);
    k->run = malloc(((size_t)n / 2 + 1) * sizeof *k->run);
    return k->w && k->sum && k->kept && k->run;
}

static void work_close(struct work *k)
{
    free(k->w);
    free(k->sum);
    free(k->kept);
    free(k->run);
}

/* Keys the group reads at a row: heads counted in k->kept. False: not recorded. */
static bool group_keys(struct work *k, int lane, int layer, int kv, int row)
{
    memset(k->kept, 0, (size_t)row + 1);
    for (int h = kv * k->per; h < (kv + 1) * k->per; h++) {
        struct sac_rows rows = { .run = k->run, .cap = row / 2 + 1 };
        if (stopped(k->cancel) || !sac_trace_rows(k->t, lane, layer, h, row, &rows)) return false;
        for (int i = 0; i < rows.n; i++)
            for (int j = rows.run[i].lo; j < rows.run[i].hi && j <= row; j++) k->kept[j]++;
    }
    return true;
}

static bool group_weights(struct work *k, int lane, int layer, int kv, int row)
{
    memset(k->sum, 0, ((size_t)row + 1) * sizeof *k->sum);
    for (int h = kv * k->per; h < (kv + 1) * k->per; h++) {
        if (stopped(k->cancel) || !sac_trace_weights(k->t, lane, layer, h, row, k->w)) return false;
        for (int j = 0; j <= row; j++) k->sum[j] += k->w[j] / (float)k->per;
    }
    return true;
}

struct ranked { float key; int i; };

static int by_key_down(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->key != y->key) return x->key < y->key ? 1 : -1;
    return x->i - y->i;
}

/* weighed: the group's weights are known; otherwise only what was read is. */
static void pair_state(struct ui_pages *p, int pair, const struct work *k, struct ranked *rank, bool weighed)
{
    unsigned char *state = p->state + (size_t)pair * (size_t)p->n_pages;
    float *mass = p->mass + (size_t)pair * (size_t)p->n_pages;
    int n = p->row + 1, n_read = 0, n_top = 0;
    double recall = 0;
    for (int j = 0; j < n; j++) {
        n_read += k->kept[j] > 0;
        if (!weighed) continue;
        mass[j / p->page] += k->sum[j];
        recall += (double)k->sum[j] * k->kept[j] / k->per;
    }
    for (int g = 0; g < p->n_pages; g++) {
        int lo = g * p->page, hi = lo + p->page < n ? lo + p->page : n, read = 0, forced = 0;
        for (int j = lo; j < hi; j++) {
            read += k->kept[j] > 0;
            forced += k->kept[j] > 0 && sac_trace_forced(k->t, p->lane, p->row, j);
        }
        if (read) state[g] |= forced * 2 >= read ? UI_PAGE_FORCED : UI_PAGE_CHOSEN;
        if (read && read < hi - lo) state[g] |= UI_PAGE_PART;
        n_top += read > 0;
        rank[g] = (struct ranked){ mass[g], g };
    }
    p->n_kept[pair] = n_read;
    if (!weighed) return;
    qsort(rank, (size_t)p->n_pages, sizeof *rank, by_key_down);
    for (int i = 0; i < n_top && i < p->n_pages; i++) state[rank[i].i] |= UI_PAGE_DENSE_TOP;
    p->recall[pair] = (float)recall;
}

static void mark_gold(struct ui_pages *p, const struct sac_trace_info *info)
{
    for (int s = 0; s < info->n_spans; s++)
        for (int g = info->span[s].lo / p->page; g <= (info->span[s].hi - 1) / p->page && g < p->n_pages; g++)
            for (int i = 0; g >= 0 && i < p->n_pairs; i++)
                p->state[(size_t)i * (size_t)p->n_pages + (size_t)g] |= UI_PAGE_GOLD;
}

static struct ui_pages *pages_alloc(int n_pairs, int n_pages)
{
    size_t cells = (size_t)n_pairs * (size_t)n_pages;
    size_t bytes = sizeof(struct ui_pages) + cells * (sizeof(float) + 2 * sizeof(short) + 1)
                   + (size_t)n_pairs * (sizeof(float) + 2 * sizeof(int)) + 64;
    struct ui_pages *p = calloc(1, bytes);
    if (!p) return NULL;
    p->mass = (float *)(void *)(p + 1);
    p->recall = p->mass + cells;
    p->n_kept = (int *)(void *)(p->recall + n_pairs);
    p->kept_cache = p->n_kept + n_pairs;
    p->count = (unsigned short *)(void *)(p->kept_cache + n_pairs);
    p->first = p->count + cells;
    p->state = (unsigned char *)(p->first + cells);
    return p;
}

/* Steps 0..step: how often each page was read and at which step first. */
static bool count_steps(struct ui_pages *p, struct work *k)
{
    for (int s = 0; s <= p->step; s++)
        for (int i = 0; i < p->n_pairs; i++) {
            int row = k->info.n_prompt - 1 + s;
            if (!group_keys(k, p->lane, i / p->n_kv_heads, i % p->n_kv_heads, row)) {
                if (stopped(k->cancel)) return false;
                continue;
            }
            for (int g = 0; g < p->n_pages && g * p->page <= row; g++) {
                size_t at = (size_t)i * (size_t)p->n_pages + (size_t)g;
                int hi = (g + 1) * p->page <= row + 1 ? (g + 1) * p->page : row + 1, j = g * p->page;
                while (j < hi && !k->kept[j]) j++;
                if (j == hi) continue;
                p->count[at]++;
                if (!p->first[at]) p->first[at] = (unsigned short)(s + 1);
            }
        }
    p->n_steps = p->step + 1;
    return true;
}

struct ui_pages *ui_pages_compute(struct sac_trace *t, int lane, int step, bool all_steps,
                                  const atomic_bool *cancel)
{
    struct work k;
    struct sac_trace_info info;
    sac_trace_info(t, &info);
    int row = info.n_prompt - 1 + step, own = sac_trace_page_size(t, lane);
    int page = own > 1 ? own : TOKEN_BIN, n_pages = row / page + 1;
    int n_pairs = info.shape.n_layers * info.shape.n_kv_heads;
    struct ui_pages *p = row >= 0 ? pages_alloc(n_pairs, n_pages) : NULL;
    struct ranked *rank = malloc((size_t)(n_pages > 0 ? n_pages : 1) * sizeof *rank);
    bool ok = p && rank && work_open(&k, t, row + 1, cancel);
    if (!p || !rank) { free(p); free(rank); return NULL; }
    p->lane = lane;
    p->step = step;
    p->row = row;
    p->page = page;
    p->own_page = own;
    p->n_pages = n_pages;
    p->n_pairs = n_pairs;
    p->n_kv_heads = info.shape.n_kv_heads;
    int seen = 0;
    for (int i = 0; ok && i < n_pairs; i++) {
        int layer = i / p->n_kv_heads, kv = i % p->n_kv_heads;
        p->kept_cache[i] = sac_trace_kept(t, lane, layer, kv);
        p->recall[i] = NAN;
        if (stopped(cancel)) ok = false;
        else if (group_keys(&k, lane, layer, kv, row)) {
            bool weighed = group_weights(&k, lane, layer, kv, row);
            pair_state(p, i, &k, rank, weighed);
            seen++;
        }
    }
    ok = ok && seen > 0;
    if (ok) mark_gold(p, &k.info);
    if (ok && all_steps) ok = count_steps(p, &k);
    work_close(&k);
    free(rank);
    if (ok) return p;
    free(p);
    return NULL;
}

/* ---- one page over the steps ---- */

/* Upper bound of a page as Quest with shared pages computes it: per-channel minimum and maximum of the keys,
 * the larger product of the two, summed over channels and over the query heads of the group. */
static float page_bound(const float *q, size_t q_stride, int per, const float *k, int lo, int hi, int d)
{
    float total = 0;
    for (int c = 0; c < d; c++) {
        float mn = INFINITY, mx = -INFINITY;
        for (int j = lo; j < hi; j++) {
            float v = k[(size_t)j * (size_t)d + (size_t)c];
            if (v < mn) mn = v;
            if (v > mx) mx = v;
        }
        for (int h = 0; h < per; h++) {
            float a = q[(size_t)h * q_stride + (size_t)c] * mn, b = q[(size_t)h * q_stride + (size_t)c] * mx;
            total += a > b ? a : b;
        }
    }
    return total;
}

static float best_key(const float *q, size_t q_stride, int per, const float *k, int lo, int hi, int d)
{
    float best = -INFINITY;
    for (int h = 0; h < per; h++)
        for (int j = lo; j < hi; j++) {
            float sum = 0;
            for (int c = 0; c < d; c++)
                sum += q[(size_t)h * q_stride + (size_t)c] * k[(size_t)j * (size_t)d + (size_t)c];
            if (sum > best) best = sum;
        }
    return best;
}

/* Why the page is in or out at `step`: bounds and true scores of all pages from the recorded q and k. */
static void page_why(struct ui_page_steps *s, struct work *k, int row)
{
    float *q, *key, *v;
    int n, d = k->info.shape.head_dim;
    if (!sac_trace_qkv(k->t, s->lane, s->layer, &q, &key, &v, &n)) return;
    if (row < n && group_keys(k, s->lane, s->layer, s->kv_head, row)) {
        const float *kk = key + (size_t)s->kv_head * (size_t)n * (size_t)d;
        const float *qq = q + ((size_t)s->kv_head * (size_t)k->per * (size_t)n + (size_t)row) * (size_t)d;
        float scale = 1 / sqrtf((float)d), mine = NAN, true_mine = NAN, cut = INFINITY;
        for (int pass = 0; pass < 2 && !stopped(k->cancel); pass++)
            for (int g = 0; g < s->n_pages; g++) {
                int lo = g * s->size, hi = lo + s->size <= row + 1 ? lo + s->size : row + 1;
                if (pass == 0 && g != s->page) continue;
                float b = scale * page_bound(qq, (size_t)n * (size_t)d, k->per, kk, lo, hi, d);
                float best = scale * best_key(qq, (size_t)n * (size_t)d, k->per, kk, lo, hi, d);
                if (pass == 0) { mine = b; true_mine = best; s->bound_rank = s->best_rank = 1; continue; }
                if (g == s->page) continue;
                s->bound_rank += b > mine;
                s->best_rank += best > true_mine;
                /* The page of the current token is read whatever its bound. */
                if (k->kept[lo] && g < row / s->size && b < cut) cut = b;
            }
        s->bound = (double)mine;
        s->best = (double)true_mine;
        if (isfinite(cut)) s->cut = (double)cut;
    }
    free(q);
    free(key);
    free(v);
}

struct ui_page_steps *ui_page_steps_compute(struct sac_trace *t, int lane, int layer, int kv_head, int page,
                                            int size, int step, const atomic_bool *cancel)
{
    struct sac_trace_info info;
    struct work k;
    sac_trace_info(t, &info);
    int row = info.n_prompt - 1 + step, n_pages = row / size + 1;
    if (row < 0 || page < 0 || page >= n_pages) return NULL;
    struct ui_page_steps *s = calloc(1, sizeof *s + ((size_t)step + 1) * sizeof *s->step);
    struct ranked *rank = malloc((size_t)n_pages * sizeof *rank);
    bool ok = work_open(&k, t, row + 1, cancel) && s && rank;
    if (ok)
        *s = (struct ui_page_steps){ .lane = lane,
                                     .layer = layer,
                                     .kv_head = kv_head,
                                     .page = page,
                                     .size = size,
                                     .n = step + 1,
                                     .bound = (double)NAN,
                                     .cut = (double)NAN,
                                     .best = (double)NAN,
                                     .n_pages = n_pages };
    for (int i = 0; ok && i <= step; i++) {
        int r = info.n_prompt - 1 + i, np = r / size + 1, n_top = 0;
        s->step[i].rank = 0;
        if (stopped(cancel)) { ok = false; break; }
        if (!group_keys(&k, lane, layer, kv_head, r) || !group_weights(&k, lane, layer, kv_head, r)) continue;
        for (int g = 0; g < np; g++) {
            float m = 0;
            bool read = false;
            for (int j = g * size; j < (g + 1) * size && j <= r; j++) {
                m += k.sum[j];
                read |= k.kept[j] > 0;
            }
            rank[g] = (struct ranked){ m, g };
            n_top += read;
            if (g == page) { s->step[i].kept = read; s->step[i].mass = m; }
        }
        if (page >= np) continue;
        int place = 1;
        for (int g = 0; g < np; g++) place += rank[g].key > s->step[i].mass;
        s->step[i].rank = (short)(place > 9999 ? 9999 : place);
        s->step[i].dense_top = place <= n_top;
        s->n_sel += s->step[i].kept;
    }
    if (ok) page_why(s, &k, row);
    ok = ok && !stopped(cancel);
    work_close(&k);
    free(rank);
    if (ok) return s;
    free(s);
    return NULL;
}
