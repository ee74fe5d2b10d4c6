/* Parts of the file format that writing and reading share: checksums, integers, byte planes, field tables. */
#include "trace/trace_file.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* ---- CRC-32 (IEEE 802.3), eight bytes at a time ---- */

static uint32_t crc_table[8][256];
static pthread_once_t crc_once = PTHREAD_ONCE_INIT;

static void crc_init(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++) c = c & 1 ? 0xedb88320u ^ c >> 1 : c >> 1;
        crc_table[0][i] = c;
    }
    for (int t = 1; t < 8; t++)
        for (uint32_t i = 0; i < 256; i++)
            crc_table[t][i] = crc_table[0][crc_table[t - 1][i] & 255] ^ crc_table[t - 1][i] >> 8;
}

uint32_t tf_crc(uint32_t crc, const void *data, size_t n)
{
    const unsigned char *p = data;
    pthread_once(&crc_once, crc_init);
    crc = ~crc;
    for (; n >= 8; n -= 8, p += 8) {
        crc ^= (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
        crc = crc_table[7][crc & 255] ^ crc_table[6][crc >> 8 & 255] ^ crc_table[5][crc >> 16 & 255] ^
              crc_table[4][crc >> 24] ^ crc_table[3][p[4]] ^ crc_table[2][p[5]] ^ crc_table[1][p[6]] ^
              crc_table[0][p[7]];
    }
    for (; n; n--) crc = crc_table[0][(crc ^ *p++) & 255] ^ crc >> 8;
    return ~crc;
}

/* ---- integers ---- */

void tf_put(struct tf_out *o, const void *p, size_t n)
{
    if (o->failed || !n) return;
    if (o->n + n > o->cap) {
        size_t cap = (o->n + n) * 2 + 256;
        unsigned char *grown = realloc(o->p, cap);
        if (!grown) {
            o->failed = true;
            return;
        }
        o->p = grown;
        o->cap = cap;
    }
    memcpy(o->p + o->n, p, n);
    o->n += n;
}

void tf_u32(struct tf_out *o, uint32_t v)
{
    unsigned char b[4] = { (unsigned char)v, (unsigned char)(v >> 8), (unsigned char)(v >> 16),
                           (unsigned char)(v >> 24) };
    tf_put(o, b, 4);
}

void tf_u64(struct tf_out *o, uint64_t v)
{
    tf_u32(o, (uint32_t)v);
    tf_u32(o, (uint32_t)(v >> 32));
}

void tf_var(struct tf_out *o, uint64_t v)
{
    unsigned char b[10];
    size_t n = 0;
    for (; v >= 128; v >>= 7) b[n++] = (unsigned char)(v | 128);
    b[n++] = (unsigned char)v;
    tf_put(o, b, n);
}

void tf_f64(struct tf_out *o, double v)
{
    uint64_t u;
    memcpy(&u, &v, sizeof u);
    tf_u64(o, u);
}

const void *tf_take(struct tf_in *in, size_t n)
{
    static const unsigned char none[8];
    if (in->bad || (size_t)(in->end - in->p) < n) {
        in->bad = true;
        return n <= sizeof none ? none : NULL;
    }
    const void *p = in->p;
    in->p += n;
    return p;
}

uint32_t tf_get32(struct tf_in *in)
{
    const unsigned char *p = tf_take(in, 4);
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

uint64_t tf_get64(struct tf_in *in)
{
    uint64_t lo = tf_get32(in);
    return lo | (uint64_t)tf_get32(in) << 32;
}

uint64_t tf_getvar(struct tf_in *in, uint64_t most)
{
    uint64_t v = 0;
    for (int shift = 0; shift < 63; shift += 7) {
        const unsigned char *p = tf_take(in, 1);
        v |= (uint64_t)(*p & 127) << shift;
        if (in->bad) return 0;
        if (!(*p & 128)) {
            if (v > most) in->bad = true;
            return in->bad ? 0 : v;
        }
    }
    in->bad = true;
    return 0;
}

double tf_getf64(struct tf_in *in)
{
    uint64_t u = tf_get64(in);
    double v;
    memcpy(&v, &u, sizeof v);
    return v;
}

/* ---- byte planes ---- */

/* Round to nearest even; too large becomes infinity, as in hardware. */
static uint16_t to_f16(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    uint32_t sign = u >> 16 & 0x8000, mag = u & 0x7fffffff;
    if (mag >= 0x7f800000) return (uint16_t)(sign | 0x7c00 | (mag > 0x7f800000 ? 0x200 : 0));
    if (mag >= 0x477ff000) return (uint16_t)(sign | 0x7c00);
    if (mag < 0x38800000) {                      /* below the normal range: let the FPU round */
        float m;
        memcpy(&m, &mag, sizeof m);
        m += 0.5f;                               /* 2^-24 is the last bit of 0.5's mantissa */
        uint32_t r;
        memcpy(&r, &m, sizeof r);
        return (uint16_t)(sign | (r - 0x3f000000));
    }
    uint32_t odd = mag >> 13 & 1;
    return (uint16_t)(sign | ((mag - 0x38000000 + 0xfff + odd) >> 13));
}

static float from_f16(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, mag = h & 0x7fff, u;
    if (mag >= 0x7c00) u = sign | 0x7f800000 | (mag & 0x3ff) << 13;
    else if (mag >= 0x400) u = sign | ((mag << 13) + 0x38000000);
    else {
        float v = (float)mag * 0x1p-24f;
        memcpy(&u, &v, sizeof u);
        u |= sign;
    }
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

size_t tf_packed_size(size_t n, enum tf_precision how, int dim)
{
    return how == TF_F16 ? 2 * n : how == TF_F32 ? 4 * n : n + 2 * (n / (size_t)dim);
}

/* A row's largest magnitude becomes 127; the scale is rounded first, so that packing what was unpacked
 * changes nothing. */
static void pack_q8(const float *v, size_t rows, size_t dim, unsigned char *out)
{
    for (size_t r = 0; r < rows; r++) {
        const float *in = v + r * dim;
        float most = 0;
        for (size_t i = 0; i < dim; i++) most = fmaxf(most, fabsf(in[i]));
        uint16_t scale = to_f16(most / 127.0f);
        float s = from_f16(scale), inv = s > 0 && s < 60000.0f ? 1.0f / s : 0;
        for (size_t i = 0; i < dim; i++) {
            float q = rintf(in[i] * inv);
            out[r * dim + i] = (unsigned char)(signed char)(q > 127 ? 127 : q < -127 ? -127 : q);
        }
        out[rows * dim + r] = (unsigned char)(scale >> 8);
        out[rows * dim + rows + r] = (unsigned char)scale;
    }
}

static void unpack_q8(const unsigned char *in, size_t rows, size_t dim, float *v)
{
    for (size_t r = 0; r < rows; r++) {
        float s = from_f16((uint16_t)(in[rows * dim + r] << 8 | in[rows * dim + rows + r]));
        for (size_t i = 0; i < dim; i++) v[r * dim + i] = (float)(signed char)in[r * dim + i] * s;
    }
}

void tf_pack(const float *v, size_t n, enum tf_precision how, int dim, unsigned char *out)
{
    if (how == TF_Q8) {
        pack_q8(v, n / (size_t)dim, (size_t)dim, out);
        return;
    }
    if (how == TF_F16) {
        for (size_t i = 0; i < n; i++) {
            uint16_t h = to_f16(v[i]);
            out[i] = (unsigned char)(h >> 8);
            out[n + i] = (unsigned char)h;
        }
        return;
    }
    for (size_t i = 0; i < n; i++) {
        uint32_t u;
        memcpy(&u, &v[i], sizeof u);
        for (size_t b = 0; b < 4; b++) out[b * n + i] = (unsigned char)(u >> (24 - 8 * b));
    }
}

void tf_unpack(const unsigned char *in, size_t n, enum tf_precision how, int dim, float *v)
{
    if (how == TF_Q8) {
        unpack_q8(in, n / (size_t)dim, (size_t)dim, v);
        return;
    }
    if (how == TF_F16) {
        for (size_t i = 0; i < n; i++) v[i] = from_f16((uint16_t)(in[i] << 8 | in[n + i]));
        return;
    }
    for (size_t i = 0; i < n; i++) {
        uint32_t u = 0;
        for (size_t b = 0; b < 4; b++) u = u << 8 | in[b * n + i];
        memcpy(&v[i], &u, sizeof u);
    }
}

/* ---- fields ---- */

#define F(kind, name) { #name, offsetof(struct sac_lane, name), kind }
#define D(phase, name) { #phase "." #name, offsetof(struct sac_lane, phase.name), TF_DOUBLE }
#define R(group, name) { #group "." #name, offsetof(struct sac_lane, group.name), TF_DOUBLE }
#define RECALL(g)                                                                                            \
    R(g, mass), R(g, mass_min), R(g, mass_p5), R(g, set), R(g, set10), R(g, set64), R(g, oracle),            \
        R(g, sink_adjusted), R(g, evidence), R(g, evidence_mass), R(g, evidence_mass_kept),                  \
        R(g, mass_vs_dense), R(g, entropy), R(g, need90), R(g, need95), R(g, need99), R(g, sink),            \
        R(g, local), R(g, kept), R(g, out_err),                                                              \
    {                                                                                                        \
#g ".n_rows", offsetof(struct sac_lane, g.n_rows), TF_INT                                            \
    }
#define DENSITY(g) D(g, pattern), D(g, kernel), D(g, work), D(g, read)

const struct tf_field tf_lane_field[] = {
    F(TF_INT, state),
    F(TF_BOOL, intervention),
    F(TF_INT, prefill_layer),
    F(TF_INT, n_steps),
    F(TF_INT, max_steps),
    F(TF_DOUBLE, progress),
    F(TF_DOUBLE, score),
    F(TF_BOOL, parsed),
    DENSITY(prefill),
    DENSITY(decode),
    RECALL(recall_prefill),
    RECALL(recall_decode),
    RECALL(recall),
    F(TF_DOUBLE, kl),
    F(TF_DOUBLE, top1),
    F(TF_DOUBLE, nll_gold),
    F(TF_INT, first_diff),
    F(TF_DOUBLE, prefill_s),
    F(TF_DOUBLE, decode_s),
    F(TF_DOUBLE, select_s),
    F(TF_DOUBLE, attend_s),
    F(TF_DOUBLE, prefill_tok_s),
    F(TF_DOUBLE, decode_tok_s),
    F(TF_SIZE, kv_bytes),
    F(TF_SIZE, kv_full_bytes),
    F(TF_SIZE, peak_bytes),
    F(TF_BOOL, shared_prefill),
};
const int tf_n_lane_fields = sizeof tf_lane_field / sizeof *tf_lane_field;

/* The order of the file, whatever the struct's order becomes. */
#define ALL_RECALL(X)                                                                                        \
    X(0, mass)                                                                                               \
    X(1, mass_min) X(2, mass_p5) X(3, set) X(4, set10) X(5, set64) X(6, oracle) X(7, sink_adjusted)          \
        X(8, evidence) X(9, evidence_mass) X(10, evidence_mass_kept) X(11, mass_vs_dense) X(12, entropy)     \
            X(13, need90) X(14, need95) X(15, need99) X(16, sink) X(17, local) X(18, kept) X(19, out_err)

void tf_recall_out(const struct sac_recall *r, double v[TF_RECALL])
{
#define X(i, name) v[i] = r->name;
    ALL_RECALL(X)
#undef X
    v[20] = r->n_rows;
    v[21] = 0;
}

void tf_recall_in(const double v[TF_RECALL], struct sac_recall *r)
{
#define X(i, name) r->name = v[i];
    ALL_RECALL(X)
#undef X
    r->n_rows = v[20] >= 0 && v[20] < 1e9 ? (int)v[20] : 0;
}
