/* One tile of query rows, or a few neighbouring ones, over the keys of their runs.
 *
 * Whole aligned groups of 16 keys are read where they were packed; what is left of a run, and scattered
 * columns, are collected 16 at a time and packed on the spot (which costs about what their products cost).
 * Four groups make a step of the kernel. A group carries positions only where some row of the tile may not
 * see some of its keys. */
#include "model/attend_int.h"

#include <math.h>
#include <string.h>

static size_t round_up(size_t n) { return (n + 63) / 64 * 64; }

static size_t work_rows(const struct attend_pass *p) { return (size_t)max_int(p->tile_rows, p->own_rows); }

size_t attend_work_bytes(const struct attend_pass *p)
{
    size_t rows = work_rows(p), dim = (size_t)p->dim, f = sizeof(float);
    return round_up(rows * dim * p->k->elem) + 2 * (K_BATCH + 1) * round_up(K_STEP * p->group_bytes) +
           round_up(rows * (2 + K_GROUP) * f) + round_up(rows * dim * f) +
           round_up(((size_t)p->tile_rows + 1) * (size_t)p->n_words * sizeof(uint64_t)) +
           (p->own_rows ? round_up(attend_listed_bytes()) : 0) + (p->mass ? attend_mass_bytes(p) : 0);
}

static void *take(char **mem, size_t bytes)
{
    void *at = *mem;
    *mem += round_up(bytes);
    return at;
}

void attend_work_init(const struct attend_pass *p, struct attend_work *w, char *mem, int thread)
{
    size_t rows = work_rows(p), dim = (size_t)p->dim, f = sizeof(float);
    memset(w, 0, sizeof *w);
    w->q = take(&mem, rows * dim * p->k->elem);
    for (int i = 0; i <= K_BATCH; i++) {
        w->keys[i].gk = take(&mem, K_STEP * p->group_bytes);
        w->keys[i].gv = take(&mem, K_STEP * p->group_bytes);
    }
    w->t.m = take(&mem, rows * (2 + K_GROUP) * f);
    w->t.l = w->t.m + 2 * rows;
    w->t.o = take(&mem, rows * dim * f);
    w->bits = take(&mem, ((size_t)p->tile_rows + 1) * (size_t)p->n_words * sizeof(uint64_t));
    if (p->own_rows) w->listed = take(&mem, attend_listed_bytes());
    if (p->mass) w->mass = attend_mass_init(p, mem, thread);
}

/* ---- steps ---- */

/* Rows of the tile before `first` see none of the keys. */
static int first_row(const struct attend_work *w, const struct attend_keys *k)
{
    int low = INT32_MAX;
    for (int i = 0; i < k->s.n; i++) low = min_int(low, k->base[i] >= 0 ? k->base[i] : k->pos[i][0]);
    return max_int(low - w->t.row0, w->lo);
}

static void run_step(struct attend_pass *p, struct attend_work *w, struct attend_keys *k,
                     const struct k_attn_step *next)
{
    int rows = w->t.rows;
    w->t.first = k->s.first;
    w->t.rows = k->s.rows;
    w->t.p = w->mass ? attend_mass_room(w->mass) : NULL;
    const struct k_attn_step *one = &k->s;
    if (p->tiles) p->k->steps(&w->t, &one, 1, next);
    else p->k->step(&w->t, k->s.group, k->s.n);
    if (w->mass) attend_mass_note(w->mass, w, k);
    w->t.rows = rows;
}

static struct attend_keys *keys_at(const struct attend_pass *p, struct attend_work *w, int i)
{
    return &w->keys[(w->head + i) % (p->batch + 1)];
}

static struct attend_keys *filling(const struct attend_pass *p, struct attend_work *w)
{
    return keys_at(p, w, w->waiting);
}

/* The oldest n steps that wait are run; the one after them may be known. */
static void run_waiting(struct attend_pass *p, struct attend_work *w, int n)
{
    if (!n) return;
    const struct k_attn_step *s[K_BATCH + 1];
    for (int i = 0; i < w->waiting; i++) s[i] = &keys_at(p, w, i)->s;
    if (p->batch > 1) p->k->steps(&w->t, s, n, n < w->waiting ? s[n] : NULL);
    else
        for (int i = 0; i < n; i++) run_step(p, w, keys_at(p, w, i), i + 1 < w->waiting ? s[i + 1] : NULL);
    w->head = (w->head + n) % (p->batch + 1);
    w->waiting -= n;
}

/* Some of the queries that come next and of the room for the outputs of these rows: memory that nothing else
 * asks for early. */
static void ask_for_rows(const struct attend_pass *p, struct attend_work *w, struct k_attn_step *s)
{
    enum { UNIT = 256, SHARE = 4 };
    const struct attend_prefill *a = p->a;
    size_t bytes = (size_t)a->head_dim * sizeof(float);
    int n = min_int((s->rows - s->first + SHARE - 1) / SHARE, w->t.rows - w->asked);
    s->ask[0].n = s->ask[1].n = 0;
    if (n <= 0 || bytes % UNIT || bytes / UNIT > 1) return;
    size_t row = (size_t)(w->t.row0 + w->asked), head = (size_t)w->head_no;
    const float *out = a->out + row * a->ldo + head * (size_t)a->head_dim;
    s->ask[0] = (struct k_attn_ask){ (const char *)out, a->ldo * sizeof(float), n };
    if (w->next_row >= 0) {
        const float *q = a->q + head * a->q_stride + (size_t)(w->next_row + w->asked) * (size_t)a->head_dim;
        s->ask[1] = (struct k_attn_ask){ (const char *)q, bytes, n };
    }
    w->asked += n;
}

/* The step that was collected is complete and waits. */
static void next_step(struct attend_pass *p, struct attend_work *w)
{
    struct attend_keys *k = filling(p, w);
    if (!k->s.n) return;
    k->s.first = first_row(w, k);
    k->s.rows = w->hi;
    if (k->s.first < k->s.rows) {
        w->n_cells += (uint64_t)(k->s.rows - k->s.first) * (uint64_t)(k->s.n * K_GROUP);
        if (p->tiles) ask_for_rows(p, w, &k->s);
        w->waiting++;
    }
    if (w->waiting > p->batch) run_waiting(p, w, p->batch);
    k = filling(p, w);
    k->s.n = 0;
    k->s.cold = 0;
}

static bool all_see(const struct attend_work *w, int lo, int hi)   /* keys lo .. hi-1 */
{
    return hi - 1 <= w->t.row0 + w->lo && (w->t.window <= 0 || lo > w->t.row0 + w->hi - 1 - w->t.window);
}

static void add_aligned(struct attend_pass *p, struct attend_work *w, int kv, int group, int lo, int hi)
{
    struct attend_keys *s = filling(p, w);
    int i = s->s.n++, base = group * K_GROUP;
    size_t at = ((size_t)kv * (size_t)p->n_groups + (size_t)group) * p->group_bytes;
    if (p->tiles) s->s.cold |= 1u << i;
    else if (p->a->plan && base != w->expect) { /* the processor cannot foresee where runs begin */
        attend_fetch(p->kp + at, p->group_bytes);
        attend_fetch(p->vp + at, p->group_bytes);
    }
    w->expect = base + K_GROUP;
    bool part = lo > base || hi < base + K_GROUP, open = !part && all_see(w, base, base + K_GROUP);
    if (!open) memcpy(s->pos[i], p->iota + base, sizeof s->pos[i]);
    if (part)
        for (int j = 0; j < K_GROUP; j++)
            if (base + j < lo || base + j >= hi) s->pos[i][j] = INT32_MAX;
    s->s.group[i] = (struct k_attn_group){ p->kp + at, p->vp + at, open ? NULL : s->pos[i] };
    s->base[i] = base;
    if (s->s.n == K_STEP) next_step(p, w);
}

static const float *key_at(const struct attend_prefill *a, const float *base, int kv, int key)
{
    return base + (size_t)kv * a->k_stride + (size_t)key * (size_t)a->head_dim;
}

/* The first n of the keys that wait make a group. */
static void pack_gathered(const struct attend_pass *p, const struct attend_work *w, int kv, int n, char *gk,
                          char *gv)
{
    const struct attend_prefill *a = p->a;
    const void *row[K_GROUP];
    const float *k[K_GROUP], *v[K_GROUP];
    for (int j = 0; j < K_GROUP; j++) {
        int key = w->gather[j < n ? j : 0];
        k[j] = key_at(a, a->k, kv, key);
        v[j] = key_at(a, a->v, kv, key);
        if (p->rows) row[j] = attend_row(p, kv, key);
    }
    if (p->rows) p->k->pack_narrow(row, n, p->dim, gk, gv);
    else p->k->pack_group(k, v, n, a->head_dim, p->dim, gk, gv);
}

static void add_gathered(struct attend_pass *p, struct attend_work *w, int kv)
{
    struct attend_keys *s = filling(p, w);
    int i = s->s.n++, n = min_int(w->n_gather, K_GROUP);
    for (int j = 0; j < K_GROUP; j++) s->pos[i][j] = j < n ? w->gather[j] : INT32_MAX;
    char *gk = s->gk + (size_t)i * p->group_bytes, *gv = s->gv + (size_t)i * p->group_bytes;
    pack_gathered(p, w, kv, n, gk, gv);
    bool open = n == K_GROUP && all_see(w, w->gather[0], w->gather[n - 1] + 1);
    s->s.group[i] = (struct k_attn_group){ gk, gv, open ? NULL : s->pos[i] };
    s->base[i] = -1;
    w->n_gather -= n;
    memmove(w->gather, w->gather + n, (size_t)w->n_gather * sizeof *w->gather);
    if (s->s.n == K_STEP) next_step(p, w);
}

static void add_keys(struct attend_pass *p, struct attend_work *w, int kv, int lo, int hi)
{
    const struct attend_prefill *a = p->a;
    size_t bytes = (size_t)a->head_dim * sizeof(float);
    for (int key = lo; key < hi; key++) {
        if (p->rows) attend_fetch(attend_row(p, kv, key), p->row_bytes);
        else {
            attend_fetch((const char *)key_at(a, a->k, kv, key), bytes);
            attend_fetch((const char *)key_at(a, a->v, kv, key), bytes);
        }
        w->gather[w->n_gather++] = key;
        if (w->n_gather == 2 * K_GROUP) add_gathered(p, w, kv);
    }
}

/* A piece of a group: gathered unless it is most of the group anyway. */
static void add_piece(struct attend_pass *p, struct attend_work *w, int kv, int lo, int hi)
{
    enum { MOST = 13 };
    if (hi - lo >= MOST) add_aligned(p, w, kv, lo / K_GROUP, lo, hi);
    else
        add_keys(p, w, kv, lo, min_int(hi, w->t.row0 + w->hi)); /* hi may have been rounded past the end */
}

enum part { WHOLE = 1, REST = 2, BOTH = WHOLE | REST }; /* whole groups of a run; what is left of it */

static void add_groups(struct attend_pass *p, struct attend_work *w, int kv, int a, int b, uint64_t *bits)
{
    for (int g = a; g < b; g++) {
        if (bits)
            bits[g / 64] |= (uint64_t)1 << g % 64;
        else
            add_aligned(p, w, kv, g, g * K_GROUP, g * K_GROUP + K_GROUP);
    }
}

/* The parts asked for; with bits, whole groups are noted there instead of collected. */
static void add_run(struct attend_pass *p, struct attend_work *w, int kv, struct sac_run run, enum part part,
                    uint64_t *bits)
{
    int last = w->t.row0 + w->hi;
    int first = w->t.window > 0 ? max_int(w->t.row0 + w->lo - w->t.window + 1, 0) : 0;
    int lo = max_int(run.lo, first), hi = min_int(run.hi, last);
    if (lo >= hi) return;
    /* Beyond the tile's rows and before its window masks rule anyway: the group can be taken whole. */
    if (run.lo <= first) lo = lo / K_GROUP * K_GROUP;
    if (run.hi >= last) hi = (hi + K_GROUP - 1) / K_GROUP * K_GROUP;
    int a = (lo + K_GROUP - 1) / K_GROUP, b = hi / K_GROUP;
    if (a > b) {
        if (part & REST) add_piece(p, w, kv, lo, hi);
        return;
    }
    if (part & REST && lo < a * K_GROUP) add_piece(p, w, kv, lo, a * K_GROUP);
    if (part & WHOLE) add_groups(p, w, kv, a, b, bits);
    if (part & REST && hi > b * K_GROUP) add_piece(p, w, kv, b * K_GROUP, hi);
}

/* What was collected is complete, for the rows that it was collected for. */
static void close_step(struct attend_pass *p, struct attend_work *w, int kv)
{
    while (w->n_gather) add_gathered(p, w, kv);
    next_step(p, w);
}

/* ---- several tiles of a plan ----
 * Neighbouring tiles read much the same groups. What all of them read meets all their rows at once, so that
 * it comes from far caches once; what is left goes to one half of them, then to the other, down to each. */

struct tiles {
    const struct sac_plan *plan;
    int kv, first, row0, rows;
};

static void add_tile(struct attend_pass *p, struct attend_work *w, const struct tiles *s, int tile,
                     enum part part, uint64_t *bits)
{
    for (size_t i = s->plan->at[tile]; i < s->plan->at[tile + 1]; i++)
        add_run(p, w, s->kv, s->plan->run[i], part, bits);
}

static void active_rows(struct attend_work *w, const struct tiles *s, int tile, int end)
{
    w->lo = max_int(tile * s->plan->tile - s->row0, 0);
    w->hi = min_int(end * s->plan->tile - s->row0, s->rows);
}

static void add_bits(struct attend_pass *p, struct attend_work *w, int kv, uint64_t *bits)
{
    for (int i = 0; i < p->n_words; i++)
        for (; bits[i]; bits[i] &= bits[i] - 1) {
            int g = i * 64 + __builtin_ctzll(bits[i]);
            add_aligned(p, w, kv, g, g * K_GROUP, g * K_GROUP + K_GROUP);
        }
}

/* The groups that tiles lo .. hi-1 have in common move to `common`, as many as make whole steps. */
static bool take_common(const struct attend_pass *p, const struct tiles *s, uint64_t *bits, int lo, int hi,
                        uint64_t *common)
{
    size_t words = (size_t)p->n_words;
    int count = 0;
    for (size_t i = 0; i < words; i++) {
        common[i] = ~(uint64_t)0;
        for (int t = lo; t < hi; t++) common[i] &= bits[(size_t)(t - s->first) * words + i];
        count += __builtin_popcountll(common[i]);
    }
    for (size_t i = words; i-- > 0 && count % K_STEP;)
        for (; common[i] && count % K_STEP; count--)
            common[i] &= ~((uint64_t)1 << (63 - __builtin_clzll(common[i])));
    for (size_t i = 0; i < words; i++)
        for (int t = lo; t < hi; t++) bits[(size_t)(t - s->first) * words + i] &= ~common[i];
    return count > 0;
}

static void meet(struct attend_pass *p, struct attend_work *w, const struct tiles *s, int lo, int hi)
{
    size_t words = (size_t)p->n_words;
    active_rows(w, s, lo, hi);
    if (hi - lo == 1) {
        add_bits(p, w, s->kv, w->bits + (size_t)(lo - s->first) * words);
        add_tile(p, w, s, lo, REST, NULL);
        close_step(p, w, s->kv);
        return;
    }
    uint64_t *common = w->bits + (size_t)p->tile_rows * words;
    if (take_common(p, s, w->bits, lo, hi, common)) {
        add_bits(p, w, s->kv, common);
        close_step(p, w, s->kv);
    }
    meet(p, w, s, lo, (lo + hi) / 2);
    meet(p, w, s, (lo + hi) / 2, hi);
}

static void several(struct attend_pass *p, struct attend_work *w, const struct tiles *s)
{
    int end = (s->row0 + s->rows + s->plan->tile - 1) / s->plan->tile;
    size_t words = (size_t)p->n_words;
    memset(w->bits, 0, (size_t)(end - s->first) * words * sizeof *w->bits);
    for (int t = s->first; t < end; t++) {
        active_rows(w, s, t, t + 1);
        add_tile(p, w, s, t, WHOLE, w->bits + (size_t)(t - s->first) * words);
    }
    meet(p, w, s, s->first, end);
}

/* ---- the tile ---- */

void attend_begin(struct attend_pass *p, struct attend_work *w, int head, int row0, int rows)
{
    const struct attend_prefill *a = p->a;
    struct k_attn_tile *t = &w->t;
    float scale = a->softcap > 0 ? a->scale : a->scale * 1.44269504f;
    *t = (struct k_attn_tile){ .rows = rows,
                               .dim = p->dim,
                               .row0 = row0,
                               .window = a->window,
                               .cap = a->softcap,
                               .q = w->q,
                               .m = t->m,
                               .l = t->l,
                               .o = t->o };
    for (int r = 0; r < rows; r++) {
        size_t at = (size_t)head * a->q_stride + (size_t)(row0 + r) * (size_t)a->head_dim;
        char *dst = (char *)w->q + (size_t)r * (size_t)p->dim * p->k->elem;
        p->k->pack_q(a->q + at, a->head_dim, p->dim, scale, dst);
        t->m[r] = K_M0;
    }
    for (int r = rows; r % K_GROUP; r++) t->m[r] = K_M0;
    memset(t->l, 0, (size_t)rows * K_GROUP * sizeof *t->l);
    if (!p->tiles) memset(t->o, 0, (size_t)rows * (size_t)p->dim * sizeof *t->o);
    w->head = w->waiting = w->n_gather = 0;
    w->keys[0].s.n = 0;
    w->keys[0].s.cold = 0;
    w->expect = -1;
    w->head_no = head;
    w->asked = 0;
    w->lo = 0;
    w->hi = rows;
    if (w->mass) attend_mass_begin(w->mass);
}

void attend_finish(struct attend_pass *p, struct attend_work *w, int head)
{
    float lse2[K_PANEL_ROWS];
    const struct attend_prefill *a = p->a;
    float *out = a->out + (size_t)w->t.row0 * a->ldo + (size_t)head * (size_t)a->head_dim;
    p->k->finish(&w->t, a->head_dim, out, a->ldo, a->lse || w->mass ? lse2 : NULL);
    if (w->mass) attend_mass_fold(p, w->mass, head / (a->n_heads / a->n_kv_heads), w->t.rows, lse2);
    float *lse = a->lse ? a->lse + (size_t)head * (size_t)a->n + (size_t)w->t.row0 : NULL;
    for (int r = 0; lse && r < w->t.rows; r++) lse[r] = lse2[r] * 0.69314718f;
}

void attend_tile(struct attend_pass *p, struct attend_work *w, int head, int row0, int rows,
                 const struct sac_plan *plan)
{
    const struct attend_prefill *a = p->a;
    struct tiles s = { plan, head / (a->n_heads / a->n_kv_heads), plan ? row0 / plan->tile : 0, row0, rows };
    attend_begin(p, w, head, row0, rows);
    if (!plan) {
        add_run(p, w, s.kv, (struct sac_run){ 0, row0 + rows }, BOTH, NULL);
        close_step(p, w, s.kv);
    } else if ((s.first + 1) * plan->tile < row0 + rows) {
        several(p, w, &s);
    } else {
        add_tile(p, w, &s, s.first, BOTH, NULL);
        close_step(p, w, s.kv);
    }
    run_waiting(p, w, w->waiting);
    attend_finish(p, w, head);
}
