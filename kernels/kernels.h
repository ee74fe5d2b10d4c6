/* Arithmetic on plain arrays: the only kernel header the engine includes.
 *
 * No files, no threads, no allocation. struct k_ops holds one function per operation; k_cpu_init fills it
 * with the scalar twins, then with what the CPU can do better. Every fast function has a scalar twin (op_c)
 * that defines its result and that the tests compare it with. */
#ifndef KERNELS_H
#define KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum k_type { K_F32, K_F16, K_BF16, K_Q8_0, K_Q4_0, K_Q4_1, K_Q5_0, K_Q5_1,
              K_Q2_K, K_Q3_K, K_Q4_K, K_Q5_K, K_Q6_K, K_N_TYPES };

struct k_type_info { const char *name; int block, bytes; };   /* elements and bytes of a block */
extern const struct k_type_info k_type_info[K_N_TYPES];

/* A weight matrix as stored: rows x cols, row r at data + r*row_bytes. `packed` belongs to whoever packs.
 * mapped: data lies in a mapped file and may leave memory when it is not read. lookup: rows are looked up,
 * never multiplied. */
struct k_mat {
    enum k_type type;
    int rows, cols;
    size_t row_bytes;
    const void *data;
    struct k_packed *packed;
    bool mapped, lookup;
};

/* ---- attention tiles ----
 * A tile is up to K_TILE_ROWS query rows of one head with consecutive positions; it meets keys in groups of
 * K_GROUP, up to K_STEP groups at a time. K and V are packed once per group into what the products want:
 *   f32    K [dim][16], V [16][dim]          bf16   K [dim/2][16] pairs, V [8][dim] pairs (two keys)
 * dim is the head size padded with zeros to a multiple of 16. Scores live in units of log2: q is packed with
 * scale * log2(e) folded in (scale alone with a softcap). */
enum { K_GROUP = 16, K_STEP = 4, K_TILE_ROWS = 96, K_STEP_KEYS = K_GROUP * K_STEP, K_STEPS_DIM = 256 };

struct k_attn_group {
    const void *k, *v;
    const int32_t *pos;   /* [K_GROUP] positions, absent keys INT32_MAX; NULL: every row sees every key */
};

struct k_attn_tile {
    int rows, dim, row0, window;   /* window 0: none */
    int first;                     /* rows before it see none of the keys of the step: they are left alone */
    float cap;                     /* softcap, 0: none */
    const void *q;                 /* [rows] packed rows */
    uint16_t *p;      /* NULL, or room for [rows][K_STEP_KEYS] (64-byte aligned): exponentials, for fold */
    float *m, *l, *o; /* [rows] K_M0 at first; [rows][16] partial sums; [rows][dim]; zeros at first */
};
/* Some rows of a tile, ascending, where rows read keys of their own: see[i] has a bit for each key of the
 * step (16 for a group) that row[i] reads, window and future left out; NULL: each reads all. pos of the
 * groups is not looked at. */
struct k_attn_rows { const uint16_t *row; const uint64_t *see; int n; };

/* A step of those that run together: rows first .. rows-1 of the tile meet n groups. cold: a bit for each
 * group that is likely to come from far; ask: other memory that is wanted soon, n times 256 bytes. */
struct k_attn_ask { const char *at; size_t stride; int n; };
struct k_attn_step {
    struct k_attn_group group[K_STEP];
    int n, first, rows;
    unsigned cold;
    const uint64_t *see;           /* NULL, or as in k_attn_rows, by row of the tile */
    struct k_attn_ask ask[2];
};

#define K_SLACK 8.0f                  /* exp2 of it keeps sums far from any bound, and rescaling rare */
#define K_KEPT 128.0f                 /* at most 2^15 with the slack, and small ones still normal numbers */
#define K_M0 (-1e30f)              /* finite, so that masked rows never meet inf - inf */

struct k_attn {
    const char *name;
    size_t elem;                   /* bytes of an element of packed q, k, v */
    void (*pack_q)(const float *q, int dim, int dim_pad, float scale, void *dst);
    /* k[i], v[i]: rows of dim floats of up to 16 keys, n of them; the rest becomes zeros */
    void (*pack_group)(const float *const *k, const float *const *v, int n, int dim, int dim_pad, void *kdst,
                       void *vdst);
    /* NULL, or for keys that are picked one by one again and again: the key and the value of a token rounded and
     * side by side, [2][dim_pad] elements at a multiple of 64 bytes; and 1 .. 16 of those made a group, exactly
     * as pack_group makes it of the floats */
    void (*narrow)(const float *k, const float *v, int dim, int dim_pad, void *dst);
    void (*pack_narrow)(const void *const *kv, int n, int dim_pad, void *kdst, void *vdst);
    void (*step)(const struct k_attn_tile *t, const struct k_attn_group *g, int n_groups);
    /* The same for the rows listed, of 1, 2 or 4 groups; NULL: not at this level */
    void (*step_rows)(const struct k_attn_tile *t, const struct k_attn_rows *rows,
                      const struct k_attn_group *g, int n_groups);
    /* After the last step: out[r*ldo + d] = o / sum of l, d < dim (0 for rows that saw no key); lse2[r] =
     * log2 of the sum of exp2 of all scores (-inf), unless lse2 is NULL */
    void (*finish)(const struct k_attn_tile *t, int dim, float *out, size_t ldo, float *lse2);
    /* out[i] = sum over rows of w[r] times the exponentials that step left in p[r*K_STEP_KEYS + i], i < n, a
     * multiple of 16; NULL: step leaves none */
    void (*fold)(const uint16_t *p, const float *w, int rows, int n, float *out);
    /* NULL, or n steps one after the other, fetching for each what the one after it needs (`next`: what comes
     * after the last, or NULL). For dim a multiple of 32 up to K_STEPS_DIM. Rows are taken 16 at a time: q, m
     * (K_M0), l and o have room for as many, p too; o needs no zeros at first. p is filled where n is 1. */
    void (*steps)(const struct k_attn_tile *t, const struct k_attn_step *const *s, int n,
                  const struct k_attn_step *next);
};

/* ---- weights pooled over keys ----
 * Up to K_NP panels of queries (as k_ops.f32.pack leaves them, scale * log2(e) in them) meet keys, and a
 * score never leaves the registers. Of row r, bit r of masks: top[r] = the largest score and itself;
 * 2^(score - shift[r]) is added to miss[r] where `lost` of the key says so, else to sum[r]; it is 2^-100
 * where it would be less, and must not exceed 2^126. Rows do not meet a key that `seen` lacks. What is
 * NULL is not wanted; seen NULL: every row meets every key; lost is looked at where miss is wanted. */
struct k_pool {
    const float *panel;
    size_t pstride;
    int panels, dim;
    const float *shift;            /* [16 * panels], as top, sum and miss */
    float *top, *sum, *miss;
};

/* ---- products with weights ----
 * Rows of weights are taken K_PANEL at a time and packed so that one vector holds the same input of all of
 * them: f32   [cols][16]            bf16  [cols/2][16] pairs int8  in an order of its level, with scales
 * [cols/sub][16]. A tile is up to K_MR rows of x times up to K_NP panels (floats), or k_int8.rows rows times
 * one panel. */
enum { K_PANEL = 16, K_MR = 6, K_NP = 4, K_INT_MR = 12 };

/* Quantised values of a row: w[i] = d[i/sub] * q[i] + m[i/sub]; m is NULL where it is zero everywhere. */
struct k_panel {
    const int8_t *q;
    const uint16_t *d16;           /* f16 scales, or */
    const float *d;                /* f32 scales */
    const float *m;
    int sub;                       /* 16 or 32 */
};

/* One row of x: integers in blocks of 32 with scale d, and d times the sum of each 16 of them. */
struct k_xrow { const void *q; const float *d, *s; };

/* Panels of weights of less than 8 bits, 16 rows together in the order of the level (planes.h). Types other
 * than Q8_0 and the floats have them. n: inputs of a row; k0, count: multiples of 32, for K types of 256. */
struct k_planes {
    size_t (*bytes)(enum k_type type, int n); /* of a panel, a multiple of 64; 0: not of this type */
    /* up to 16 rows as stored, `stride` bytes apart; missing ones repeat the last */
    void (*pack)(enum k_type type, const void *w, size_t stride, int rows, int n, void *panel);
    /* y[0..15] = the panel against one row of x */
    void (*dot)(enum k_type type, const void *panel, int n, const struct k_xrow *x, float *y);
    /* inputs k0 .. k0+count-1 as k_int8.pack leaves them, with scales and minima [count/sub][16]; returns sub
     */
    int (*open)(enum k_type type, const void *panel, int n, int k0, int count, int8_t *q, float *d, float *m,
                bool *has_m);
};

struct k_int8 {
    const char *name;              /* NULL: this level has no integer products */
    int rows;                      /* rows of x in a tile, at most K_INT_MR */
    int x_elem, x_max;             /* bytes of a quantised activation, its largest magnitude */
    void (*quant)(const float *x, int n, void *q, float *d, float *s);
    void (*pack)(const int8_t *q, int n, int8_t *dst);   /* K_PANEL rows q[r*n ..] of n values */
    /* y[r*ldy + i] for 1 .. rows rows of x and the 16 rows of the panel */
    void (*tile)(const struct k_panel *w, int n, const struct k_xrow *x, int rows, float *y, size_t ldy);
    /* NULL, or the same for K_NP panels of one kind (sub, d or d16, m or none): exactly what tile gives */
    void (*tile4)(const struct k_panel *w, int n, const struct k_xrow *x, int rows, float *y, size_t ldy);
    /* one unpacked row of weights against one row of x */
    float (*dot)(const int8_t *q, const float *d, const float *m, int sub, int n, const struct k_xrow *x);
    const struct k_planes *planes; /* NULL: quantised rows stay as they are */
};

/* Float products: `panels` panels lie pstride elements apart, x and y as in k_int8. elem: bytes of an element
 * of packed weights and of x. acc: add to y. */
struct k_float_gemm {
    const char *name;
    int elem;
    void (*convert)(const float *x, int n, void *dst);
    void (*pack)(const float *w, size_t ldw, int n, void *dst);   /* K_PANEL rows of n floats (n even) */
    void (*tile)(const void *w, size_t pstride, int panels, int n, const void *const *x, int rows, float *y,
                 size_t ldy, bool acc);
};

/* Products of long rows of floats as 16-bit integers, where the CPU does them faster. A row has one scale, such
 * that none of its parts of K_WORD_PART inputs is longer (as a vector) than 46340, so that sums of a part fit
 * 32 bits: a product is off by some 9e-6 / sqrt(n / K_WORD_PART) of the product of the rows' lengths. n: a
 * multiple of K_WORD_PART. */
enum { K_WORD_PART = 64 };
struct k_words {
    const char *name;              /* NULL: not at this level */
    float (*row)(const float *x, int n, int16_t *q);               /* returns the scale */
    void (*pack)(const int16_t *q, int n, int16_t *dst);           /* K_PANEL rows q[r*n ..] as pairs */
    /* y[r*ldy + c] of any number of rows x[r*n ..] and of panels, one behind the other; ws, xs: scales */
    void (*tile)(const int16_t *w, const float *ws, int panels, int n, const int16_t *x, const float *xs,
                 int rows, float *y, size_t ldy);
};

/* Attention of K_STRIP_ROWS consecutive rows r over a strip of keys, whose packed halves (see wide.split) lie
 * panel by panel, hi then lo. q: from strip_pack, scale * log2(e) in it. Row r sees the first seen + r of
 * the keys; what it gives a key is exp2(score - ref[r]), at least 2^-125. */
enum { K_STRIP_ROWS = 32, K_STRIP_EDGE = 160 };
struct k_strip {
    const void *k;
    const uint16_t *q;
    const float *ref;
    int dim, keys, seen;           /* dim: a multiple of 32 */
};

/* Products of many rows of bf16 x with bf16 panels (packed as k_ops.bf16.pack does), where the CPU does them
 * on whole tiles: y[m][cols] = or += x[m][n] (stride ldx elements) . panels (pstride elements apart). n: a
 * multiple of 32. */
struct k_wide_gemm {
    const char *name;              /* NULL: not at this level */
    void (*pack)(const float *w, size_t ldw, int n, void *dst);   /* K_PANEL rows of n floats */
    /* inputs k0 .. k0+n-1 of a panel that int8.pack packed */
    void (*widen)(const struct k_panel *w, int k0, int n, void *dst);
    /* A float as the sum of two bf16, hi + lo, exact to 2^-17: a panel of each, and a row of x of each. Three
     * products of such halves come near one of floats. */
    void (*split)(const float *w, size_t ldw, int n, void *hi, void *lo);
    void (*split_row)(const float *x, int n, uint16_t *hi, uint16_t *lo);
    void (*matmul)(const void *w, size_t pstride, int cols, int n, const void *x, size_t ldx, int m, float *y,
                   size_t ldy, bool acc);
    /* up to K_STRIP_ROWS rows of dim floats, the others become zeros; q: room for 2 * K_STRIP_ROWS * dim */
    void (*strip_pack)(const float *x, int rows, int dim, uint16_t *q);
    /* out[r][ld]: row r times keys of packed halves as in k_strip, in groups of 16; all K_STRIP_ROWS rows */
    void (*strip_score)(const void *k, int keys, int dim, const uint16_t *q, float *out, size_t ld);
    /* sum[r][16] += what row r gives, in sixteen parts */
    void (*strip_sum)(const struct k_strip *s, float *sum);
    /* by_key[j] += what rows give key j; by_offset[j - r + 31] += what row r gives key j. Both have room for
     * K_STRIP_EDGE floats after the last key, which stay as they are. */
    void (*strip_add)(const struct k_strip *s, float *by_key, float *by_offset);
    /* y[m][16 * panels] = silu (or gelu) of x . gate times x . up, to bf16: as matmul twice, silu_mul and
     * bf16.convert would, within 2e-4 before that is rounded */
    void (*gated)(const void *gate, const void *up, size_t pstride, int panels, int n, const void *x,
                  size_t ldx, int m, bool gelu, uint16_t *y, size_t ldy);
};

/* Keys of 4 bits, 16 of them together (nibbles.c): levels between the smallest and the largest value of a key.
 * put: key i of a group; missing keys may hold anything. */
size_t k_nibbles_bytes(int dim);                     /* of a group */
void k_nibbles_put(const float *key, int dim, int i, void *group);
/* A query of dim integers (zeros up to a multiple of 8): a score is scale * (step of the key) * sum of q times
 * level + shift * (lowest value of the key). */
struct k_nibble_query { const int8_t *q; float scale, shift; };

enum k_level { K_SCALAR, K_AVX2, K_AVX512, K_AVX512_VNNI, K_AVX512_BF16, K_AMX, K_NEON };

struct k_ops {
    enum k_level level;
    const char *name;              /* "avx512 vnni bf16" */
    /* out[n] = one row (n elements, a multiple of the block) as f32 */
    void (*dequant)(enum k_type type, const void *row, int n, float *out);
    /* f32 vector families */
    float (*dot)(const float *a, const float *b, int n);
    void (*rms_norm)(const float *x, const float *w, int n, float eps, float *y);
    void (*silu_mul)(const float *gate, const float *up, int n, float *y);   /* y may alias gate */
    void (*gelu_mul)(const float *gate, const float *up, int n, float *y);
    void (*add)(float *y, const float *x, int n);
    /* pairs (x[i], x[half + i]) turned by angles of these cosines and sines */
    void (*rotate)(const float *cos, const float *sin, int half, float *x);
    /* scores[i] = scale * q.k[i], i < n, keys of dim elements, stored in the cache type */
    void (*score_f32)(const float *q, const float *k, int dim, int n, float scale, float *out);
    void (*score_f16)(const float *q, const uint16_t *k, int dim, int n, float scale, float *out);
    void (*score_bf16)(const float *q, const uint16_t *k, int dim, int n, float scale, float *out);
    /* x[i] = exp(x[i] - max); returns the sum */
    float (*exp_sum)(float *x, int n, float max);
    float (*max)(const float *x, int n);
    void (*softcap)(float *x, int n, float cap);   /* x[i] = cap * tanh(x[i] / cap) */
    /* Scores of keys in rows, x[k*ld + r] of row r (r < n, a multiple of 16), in units of log2. top[r] = the
     * largest of them and of itself */
    void (*cols_max)(const float *x, size_t ld, int keys, int n, float *top);
    /* sum[r] += sum over keys of 2^(x[k*ld + r] - shift[r]), which must not exceed 2^127; 0 for -inf and where
     * it would not be a normal number */
    void (*cols_exp2)(const float *x, size_t ld, int keys, int n, const float *shift, float *sum);
    /* keys key[0 .. n*dim-1], see struct k_pool; lost, seen: [n]. NULL: f32.tile, cols_max and cols_exp2 are
     * as fast */
    void (*pool)(const struct k_pool *p, const float *key, int n, const uint64_t *lost, const uint64_t *seen);
    /* y[i] += sum over rows of w[r] * x[r*ldx + i], i < n */
    void (*add_rows)(float *y, const float *x, size_t ldx, const float *w, int rows, int n);
    /* Indices, ascending, of the entries above t; idx: room for n. Returns how many. */
    int (*above)(const float *x, int n, float t, int *idx);
    /* Entries of reader that are not 0: their indices, ascending, go to idx, they themselves to kept; room for
     * n in each. Returns how many. */
    int (*readers)(const uint8_t *reader, int n, int *idx, uint8_t *kept);
    /* x[i] = -inf where reader[i] lacks `bit` */
    void (*keep)(float *x, int n, const uint8_t *reader, unsigned bit);
    /* Entries above t go to `more`, the others (NaN too) to `rest`, in order; room for n each, one of them may
     * be x. Returns how many are above; *sum, unless NULL, is what they sum to. */
    int (*part)(const float *x, int n, float t, float *more, float *rest, double *sum);
    /* Indices, ascending, of the k largest, of equal ones the first; returns k. -1: not done, as this level or
     * these numbers do not suit (few, many equal or none). NULL: not at this level (best_c is slow) */
    int (*best)(const float *x, int n, int k, int *idx);
    /* Scores of groups at[0 .. n-1] of keys of 4 bits: out[h*stride + 16*g + i] */
    void (*nibbles)(const struct k_nibble_query *q, int heads, const void *groups, const int *at, int n,
                    int dim, float *out, size_t stride);
    void (*to_f16)(const float *x, int n, uint16_t *y);
    void (*from_f16)(const uint16_t *x, int n, float *y);
    void (*to_bf16)(const float *x, int n, uint16_t *y);
    void (*from_bf16)(const uint16_t *x, int n, float *y);
    /* Decode: several heads over the same n keys or values in cache type K_F32, K_F16 or K_BF16.
     * out[h*stride + i] = scale * q[h].k[i];  out[h][dim] += sum_i w[h*stride + i] * v[i] */
    void (*scores)(enum k_type type, const float *q, int heads, const void *k, int dim, int n, float scale,
                   float *out, size_t stride);
    void (*values)(enum k_type type, const float *w, size_t stride, int heads, const void *v, int dim, int n,
                   float *out);
    /* One row of n weights of a quantised type as q, d, m (see k_panel); returns sub. *has_m: m was written.
     */
    int (*unpack)(enum k_type type, const void *row, int n, int8_t *q, float *d, float *m, bool *has_m);
    struct k_int8 int8;
    struct k_float_gemm f32, bf16; /* bf16.name NULL: not at this level */
    struct k_words words;
    struct k_wide_gemm wide;       /* name NULL: not at this level */
    struct k_attn attn;            /* f32 products */
    struct k_attn attn_fast;       /* the fastest: bf16 products where the CPU has them, else the same */
};

/* The best level the CPU has, or at most `limit` when it is not negative (tests, --cpu). Idempotent. */
const struct k_ops *k_cpu_init(int limit);
const struct k_ops *k_ops(void);          /* after k_cpu_init */
/* The level called "scalar", "avx2", "avx512", "vnni", "bf16", "amx" or "neon", as SACCADE_CPU names them;
 * -1: none of these, or NULL. Fits k_cpu_init's limit. */
int k_level_find(const char *name);
#endif
