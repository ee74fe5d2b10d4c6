/* Attention tiles with f32 products, AVX2: 6 query rows x 16 keys keep 12 accumulators in registers.
 *
 * Scores of six rows and up to 64 keys go through a 1.5 kB buffer: products of one group of 16 keys after the
 * other, then the softmax row by row, then the values, 16 columns at a time. */
#include "avx2.h"
#include "levels.h"

#include <math.h>
#include <string.h>

/* x[R][2] += a[r][i] * b[i], i < n: rows of b (16 floats) have stride ldb. */
INLINE void mm(__m256 (*x)[2], const float *const *a, const float *b, int ldb, int n, int R)
{
    for (int i = 0; i < n; i++, b += ldb) {
        __m256 b0 = _mm256_loadu_ps(b), b1 = _mm256_loadu_ps(b + 8);
        UNROLL for (int r = 0; r < R; r++) {
            __m256 y = _mm256_broadcast_ss(a[r] + i);
            x[r][0] = _mm256_fmadd_ps(y, b0, x[r][0]);
            x[r][1] = _mm256_fmadd_ps(y, b1, x[r][1]);
        }
    }
}

static void mask_row(const struct k_attn_tile *t, const struct k_attn_group *g, int r, int G, float *s)
{
    int row = t->row0 + r;
    __m256i last = _mm256_set1_epi32(row),
            from = _mm256_set1_epi32(t->window > 0 ? row - t->window + 1 : INT32_MIN);
    for (int i = 0; i < G * 2; i++) {
        const int32_t *pos = g[i / 2].pos;
        if (!pos) continue;
        __m256i p = _mm256_loadu_si256((const __m256i *)(pos + i % 2 * 8));
        __m256i no = _mm256_or_si256(_mm256_cmpgt_epi32(p, last), _mm256_cmpgt_epi32(from, p));
        __m256 v =
            _mm256_blendv_ps(_mm256_loadu_ps(s + i * 8), _mm256_set1_ps(-INFINITY), _mm256_castsi256_ps(no));
        _mm256_storeu_ps(s + i * 8, v);
    }
}

/* Keys of the step whose bit is not set count as not read. */
static void hide_row(uint64_t see, int G, float *s)
{
    const __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    for (int i = 0; i < G * 2; i++) {
        __m256i b = _mm256_and_si256(_mm256_set1_epi32((int)(see >> i * 8 & 255)), bit);
        __m256 no = _mm256_castsi256_ps(_mm256_cmpeq_epi32(b, _mm256_setzero_si256()));
        _mm256_storeu_ps(s + i * 8,
                         _mm256_blendv_ps(_mm256_loadu_ps(s + i * 8), _mm256_set1_ps(-INFINITY), no));
    }
}

static void cap_row(const struct k_attn_tile *t, int G, float *s)
{
    __m256 inv = _mm256_set1_ps(1.0f / t->cap), out = _mm256_set1_ps(t->cap * 1.44269504f);
    for (int i = 0; i < G * K_GROUP; i += 8)
        _mm256_storeu_ps(s + i, _mm256_mul_ps(out, tanh_256(_mm256_mul_ps(inv, _mm256_loadu_ps(s + i)))));
}

static __attribute__((noinline)) void raise_row(const struct k_attn_tile *t, int r, float top)
{
    float *o = t->o + (size_t)r * (size_t)t->dim, *l = t->l + r * K_GROUP;
    __m256 z = exp2_256(_mm256_set1_ps(t->m[r] - top));
    t->m[r] = top;
    for (int i = 0; i < K_GROUP; i += 8) _mm256_storeu_ps(l + i, _mm256_mul_ps(z, _mm256_loadu_ps(l + i)));
    for (int d = 0; d < t->dim; d += 8) _mm256_storeu_ps(o + d, _mm256_mul_ps(z, _mm256_loadu_ps(o + d)));
}

/* Scores of one row become exp2(s - m); m, l and o follow the maximum. Returns the vector of sums. */
INLINE void softmax_row(const struct k_attn_tile *t, const struct k_attn_group *g, int r, float *s, int G,
                        bool masked, uint64_t see)
{
    if (t->cap > 0) cap_row(t, G, s);
    if (masked) mask_row(t, g, r, G, s);
    if (see != ~(uint64_t)0) hide_row(see, G, s);
    __m256 v[2 * K_STEP], mx = _mm256_loadu_ps(s), add[2] = { _mm256_setzero_ps(), _mm256_setzero_ps() };
    UNROLL for (int i = 0; i < 2 * G; i++) v[i] = _mm256_loadu_ps(s + i * 8);
    UNROLL for (int i = 1; i < 2 * G; i++) mx = _mm256_max_ps(mx, v[i]);
    if (_mm256_movemask_ps(_mm256_cmp_ps(mx, _mm256_set1_ps(t->m[r]), _CMP_GT_OQ)))
        raise_row(t, r, max_256(mx));
    __m256 m = _mm256_set1_ps(t->m[r]);
    UNROLL for (int i = 0; i < 2 * G; i++) {
        v[i] = exp2_256(_mm256_sub_ps(v[i], m));
        _mm256_storeu_ps(s + i * 8, v[i]);
        add[i % 2] = _mm256_add_ps(add[i % 2], v[i]);
    }
    float *l = t->l + r * K_GROUP;
    _mm256_storeu_ps(l, _mm256_add_ps(_mm256_loadu_ps(l), add[0]));
    _mm256_storeu_ps(l + 8, _mm256_add_ps(_mm256_loadu_ps(l + 8), add[1]));
}

/* Below 2^-21 they count as nothing: f16 has no normal numbers there. */
static void keep_row(uint16_t *to, const float *p, int G)
{
    for (int i = 0; i < G * K_GROUP; i += 8) {
        __m256 x = _mm256_mul_ps(_mm256_loadu_ps(p + i), _mm256_set1_ps(K_KEPT));
        x = _mm256_and_ps(x, _mm256_cmp_ps(x, _mm256_set1_ps(0x1p-14f), _CMP_GE_OQ));
        _mm_storeu_si128((__m128i *)(void *)(to + i), _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
    }
}

INLINE int row_at(const struct k_attn_rows *list, int i) { return list ? list->row[i] : i; }
INLINE uint64_t see_at(const struct k_attn_rows *list, int i)
{
    return list && list->see ? list->see[i] : ~(uint64_t)0;
}

INLINE void rows_f32(const struct k_attn_tile *t, const struct k_attn_group *g,
                     const struct k_attn_rows *list, int r0, int R, int G, bool masked)
{
    float s[6 * K_STEP_KEYS] __attribute__((aligned(32)));
    const float *q[6];
    float *o[6];
    UNROLL for (int r = 0; r < R; r++) {
        size_t at = (size_t)row_at(list, r0 + r) * (size_t)t->dim;
        q[r] = (const float *)t->q + at;
        o[r] = t->o + at;
    }
    for (int c = 0; c < G; c++) {
        __m256 x[6][2];
        UNROLL for (int r = 0; r < R; r++) x[r][0] = x[r][1] = _mm256_setzero_ps();
        mm(x, q, g[c].k, K_GROUP, t->dim, R);
        UNROLL for (int r = 0; r < R; r++) {
            _mm256_store_ps(s + r * K_STEP_KEYS + c * K_GROUP, x[r][0]);
            _mm256_store_ps(s + r * K_STEP_KEYS + c * K_GROUP + 8, x[r][1]);
        }
    }
    for (int r = 0; r < R; r++) {
        softmax_row(t, g, row_at(list, r0 + r), s + r * K_STEP_KEYS, G, masked, see_at(list, r0 + r));
        if (t->p && !list) keep_row(t->p + (size_t)(r0 + r) * K_STEP_KEYS, s + r * K_STEP_KEYS, G);
    }
    for (int col = 0; col < t->dim; col += 16) {
        __m256 x[6][2];
        UNROLL for (int r = 0; r < R; r++) {
            x[r][0] = _mm256_loadu_ps(o[r] + col);
            x[r][1] = _mm256_loadu_ps(o[r] + col + 8);
        }
        for (int c = 0; c < G; c++) {
            const float *p[6];
            UNROLL for (int r = 0; r < R; r++) p[r] = s + r * K_STEP_KEYS + c * K_GROUP;
            mm(x, p, (const float *)g[c].v + col, t->dim, K_GROUP, R);
        }
        UNROLL for (int r = 0; r < R; r++) {
            _mm256_storeu_ps(o[r] + col, x[r][0]);
            _mm256_storeu_ps(o[r] + col + 8, x[r][1]);
        }
    }
}

INLINE void step(const struct k_attn_tile *t, const struct k_attn_group *g, int G)
{
    bool masked = false;
    for (int c = 0; c < G; c++) masked |= g[c].pos != NULL;
    int r = t->first;
    for (; r + 6 <= t->rows; r += 6) rows_f32(t, g, NULL, r, 6, G, masked);
    if (r + 4 <= t->rows) {
        rows_f32(t, g, NULL, r, 4, G, masked);
        r += 4;
    }
    for (; r < t->rows; r++) rows_f32(t, g, NULL, r, 1, G, masked);
}

static void step1(const struct k_attn_tile *t, const struct k_attn_group *g) { step(t, g, 1); }
static void step2(const struct k_attn_tile *t, const struct k_attn_group *g) { step(t, g, 2); }
static void step3(const struct k_attn_tile *t, const struct k_attn_group *g) { step(t, g, 3); }
static void step4(const struct k_attn_tile *t, const struct k_attn_group *g) { step(t, g, 4); }

static void attn_step_avx2(const struct k_attn_tile *t, const struct k_attn_group *g, int n_groups)
{
    static void (*const by_groups[])(const struct k_attn_tile *,
                                     const struct k_attn_group *) = { step1, step2, step3, step4 };
    by_groups[n_groups - 1](t, g);
}

/* Listed rows are few: no more than one block of less than six. */
INLINE void listed(const struct k_attn_tile *t, const struct k_attn_rows *list, const struct k_attn_group *g,
                   int G)
{
    int r = 0, left = list->n % 6;
    for (; r + 6 <= list->n; r += 6) rows_f32(t, g, list, r, 6, G, false);
    if (left == 5) rows_f32(t, g, list, r, 5, G, false);
    else if (left == 4) rows_f32(t, g, list, r, 4, G, false);
    else if (left == 3) rows_f32(t, g, list, r, 3, G, false);
    else if (left == 2) rows_f32(t, g, list, r, 2, G, false);
    else if (left == 1) rows_f32(t, g, list, r, 1, G, false);
}

static void attn_step_rows_avx2(const struct k_attn_tile *t, const struct k_attn_rows *rows,
                                const struct k_attn_group *g, int n_groups)
{
    if (n_groups == 4) listed(t, rows, g, 4);
    else if (n_groups == 2) listed(t, rows, g, 2);
    else listed(t, rows, g, 1);
}

/* 8 rows of 8 columns, transposed into a packed group at column `at`. */
static void transpose8(const float *const *src, int n, int d, float *dst)
{
    __m256 a[8], b[8];
    for (int i = 0; i < 8; i++) a[i] = i < n ? _mm256_loadu_ps(src[i] + d) : _mm256_setzero_ps();
    for (int i = 0; i < 8; i += 2) {
        b[i] = _mm256_unpacklo_ps(a[i], a[i + 1]);
        b[i + 1] = _mm256_unpackhi_ps(a[i], a[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        a[i] = _mm256_shuffle_ps(b[i], b[i + 2], 0x44);
        a[i + 1] = _mm256_shuffle_ps(b[i], b[i + 2], 0xee);
        a[i + 2] = _mm256_shuffle_ps(b[i + 1], b[i + 3], 0x44);
        a[i + 3] = _mm256_shuffle_ps(b[i + 1], b[i + 3], 0xee);
    }
    for (int i = 0; i < 4; i++) {
        _mm256_storeu_ps(dst + (d + i) * K_GROUP, _mm256_permute2f128_ps(a[i], a[i + 4], 0x20));
        _mm256_storeu_ps(dst + (d + i + 4) * K_GROUP, _mm256_permute2f128_ps(a[i], a[i + 4], 0x31));
    }
}

static void pack_group_avx2(const float *const *k, const float *const *v, int n, int dim, int dim_pad,
                            void *kdst, void *vdst)
{
    if (dim % 8) {
        attn_pack_group_c(k, v, n, dim, dim_pad, kdst, vdst);
        return;
    }
    float *kt = kdst, *vt = vdst;
    for (int d = 0; d < dim; d += 8) {
        transpose8(k, n, d, kt);
        transpose8(k + 8, n - 8, d, kt + 8);
    }
    memset(kt + dim * K_GROUP, 0, (size_t)(dim_pad - dim) * K_GROUP * sizeof *kt);
    for (int i = 0; i < K_GROUP; i++, vt += dim_pad) {
        size_t have = i < n ? (size_t)dim : 0;
        if (have) memcpy(vt, v[i], have * sizeof *vt);
        memset(vt + have, 0, ((size_t)dim_pad - have) * sizeof *vt);
    }
}

void k_fold_avx2(const uint16_t *p, const float *w, int rows, int n, float *out)
{
    __m256 s[2 * K_STEP];
    UNROLL for (int c = 0; c < 2 * K_STEP; c++) s[c] = _mm256_setzero_ps();
    for (int r = 0; r < rows; r++, p += K_STEP_KEYS) {
        __m256 f = _mm256_broadcast_ss(w + r);
        UNROLL for (int c = 0; c < 2 * K_STEP; c++)
            if (c < n / 8)
                s[c] = _mm256_fmadd_ps(
                    f, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(p + c * 8))), s[c]);
    }
    UNROLL for (int c = 0; c < 2 * K_STEP; c++)
        if (c < n / 8) _mm256_storeu_ps(out + c * 8, _mm256_mul_ps(_mm256_set1_ps(1 / K_KEPT), s[c]));
}

const struct k_attn attn_avx2 = {
    .name = "f32 avx2",
    .elem = 4,
    .pack_q = attn_pack_q_c,
    .pack_group = pack_group_avx2,
    .step = attn_step_avx2,
    .step_rows = attn_step_rows_avx2,
    .finish = attn_finish_c,
    .fold = k_fold_avx2,
};
