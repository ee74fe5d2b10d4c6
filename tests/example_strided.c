/* Strided attention: the nearest keys, and every stride-th key before them. After Child et al., arXiv 1904.10509.
 *
 * A fixed pattern: nothing is scored, so selection costs nothing, and nothing is evicted. Rows of a tile share
 * their keys in prefill.
 *
 * Known quirks. The published pattern gives local and strided keys to different heads; here every head reads both. */
#include "methods/methods.h"

struct opts { int window, stride; };

static const struct sac_param params[] = {
    P_INT(opts, window, 128, 1, TOKENS_MAX, false, "nearest keys, always read"),
    P_INT(opts, stride, 8, 1, TOKENS_MAX, true, "distance of the keys read before the window"),
};

/* sparsity=S: window + (n - window) / stride keys are a share 1 - S of n. */
static enum sac_code budget(void *opts, const struct sac_shape *s, int n, double sparsity, struct sac_err *err)
{
    struct opts *o = opts;
    (void)s;
    (void)err;
    int far = share_of(n, sparsity, o->window + 1) - o->window;
    o->stride = imax((n - o->window + far - 1) / far, 1);
    return SAC_OK;
}

/* The window and one key before it are always read. */
static double reach(const void *opts, const struct sac_shape *s, int n)
{
    (void)s;
    return reach_of(n, ((const struct opts *)opts)->window + 1);
}

static bool forced(const void *opts, int n, int row, int key)
{
    (void)n;
    return row - key < ((const struct opts *)opts)->window;
}

/* Prefill: one list of runs for each tile of rows. The plan grows by itself; a failure is memory. */
static bool plan(const struct sac_prefill_in *in, const void *opts, int head, struct sac_plan *out,
                 struct sac_arena *scratch)
{
    enum { TILE = 64 };
    const struct opts *o = opts;
    (void)head;
    (void)scratch;
    if (!sac_plan_init(out, TILE, in->n)) return false;
    for (int row = 0; row < in->n; row += TILE) {
        int near = imax(row + 1 - o->window, 0);
        bool ok = true;
        for (int key = 0; ok && key < near; key += o->stride) ok = sac_plan_add(out, key, key + 1);
        if (!ok || !sac_plan_add(out, near, imin(row + TILE, in->n)) || !sac_plan_next(out)) {
            sac_plan_free(out);
            return false;
        }
    }
    return true;
}

/* Decode: the state is the options; slots are positions here, as nothing is evicted. */
static void *create(const struct sac_env *env, const void *opts, struct sac_arena *a)
{
    struct opts *state = sac_arena_alloc(a, sizeof *state);
    (void)env;
    if (state) *state = *(const struct opts *)opts;
    return state;
}

static void select_slots(void *state, const struct sac_decode_in *in, int head, struct sac_rows *out)
{
    const struct opts *o = state;
    int n = in->n[head / (in->n_heads / in->n_kv_heads)], near = imax(n - o->window, 0);
    for (int slot = 0; slot < near; slot += o->stride) sac_rows_add(out, slot, slot + 1);
    sac_rows_add(out, near, n);
}

extern const struct sac_method method_strided;
const struct sac_method method_strided = {
    .name = "strided",
    .title = "Strided",
    .summary = "the nearest keys and every n-th before them",
    .source = "arXiv 1904.10509",
    .params = params,
    .n_params = SAC_COUNT(params),
    .opts_size = sizeof(struct opts),
    .scope = scope_kv_head,
    .budget = budget,
    .reach = reach,
    .forced = forced,
    .plan = plan,
    .create = create,
    .select = select_slots,
};
