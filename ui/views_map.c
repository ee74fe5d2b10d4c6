/* The window of a map: what part is shown, how the cursor moves in it, tiles as pictures; see views.h. */
#include "views.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int uv_n(const struct ui_state *st, int lane)
{
    if (!st->trace || lane < 0 || lane >= st->n_lanes) return 0;
    /* While tokens come the map stays over the prompt; it would be computed anew for each of them. */
    const struct sac_lane *la = &st->lane[lane];
    int rows = ui_n_rows(st, lane);
    bool growing =
        la->state == SAC_LANE_PREFILL || la->state == SAC_LANE_DECODE || la->state == SAC_LANE_QUEUED;
    return growing || rows < st->info.n_prompt ? st->info.n_prompt : rows;
}

/* Whether a map that is not zoomed shows the answer rows only. */
static bool answers(const struct ui_state *st, enum ui_screen s, int lane)
{
    if (!st->trace || lane < 0 || lane >= st->n_lanes || uv_n(st, lane) < st->info.n_prompt + 2) return false;
    const struct sac_lane *la = &st->lane[lane];
    bool decode_only = la->prefill.kernel > 0.9999 && la->decode.kernel < 0.9999;
    if (st->at.rows == UI_ROWS_AUTO) return s == UI_SCREEN_COMPARE && decode_only;
    return st->at.rows == UI_ROWS_ANSWERS;
}

struct ui_window uv_window(const struct ui_state *st, enum ui_screen s, int lane)
{
    int n = uv_n(st, lane);
    struct ui_window w = st->at.win[s];
    if (w.q1 <= w.q0 || w.k1 <= w.k0)
        return (struct ui_window){ answers(st, s, lane) ? st->info.n_prompt - 1 : 0, n, 0, n };
    if (w.q1 > n) { w.q0 -= w.q1 - n; w.q1 = n; }
    if (w.k1 > n) { w.k0 -= w.k1 - n; w.k1 = n; }
    if (w.q0 < 0) w.q0 = 0;
    if (w.k0 < 0) w.k0 = 0;
    return w;
}

void uv_set_row(struct ui_state *st, int row)
{
    int n = uv_n(st, st->at.a), s;
    if (row >= n) row = n - 1;
    if (row < 0) row = 0;
    st->at.row = row;
    s = row - (st->info.n_prompt - 1);
    st->at.step = s >= 0 && s < ui_n_steps(st, st->at.a) ? s : -1;
}

/* One axis of a zoom: the range shrinks or grows around `at`, which keeps its place on screen. */
static void zoom_axis(int *lo, int *hi, int n, int at, double factor)
{
    int size = *hi - *lo, want = (int)floor(size * factor + 0.5), least = n < 8 ? n : 8;
    if (want == size && factor < 1) want = size - 1;
    if (want < least) want = least;
    if (want > n) want = n;
    double place = size > 0 ? (at - *lo + 0.5) / size : 0.5;
    int start = (int)floor(at + 0.5 - place * want + 0.5);
    if (start + want > n) start = n - want;
    if (start < 0) start = 0;
    *lo = start;
    *hi = start + want;
}

void uv_zoom(struct ui_state *st, enum ui_screen s, int lane, double factor)
{
    int n = uv_n(st, lane);
    struct ui_window w = uv_window(st, s, lane);
    if (n < 1) return;
    zoom_axis(&w.q0, &w.q1, n, st->at.row, factor);
    zoom_axis(&w.k0, &w.k1, n, st->at.key, factor);
    if (w.q1 - w.q0 == n && w.k1 - w.k0 == n) {
        w = (struct ui_window){ 0 };
        st->at.rows = UI_ROWS_ALL;
    }
    st->at.win[s] = w;
}

static void pan_axis(int *lo, int *hi, int n, int at)
{
    int size = *hi - *lo;
    if (at < *lo) *lo = at;
    if (at >= *hi) *lo = at - size + 1;
    if (*lo + size > n) *lo = n - size;
    if (*lo < 0) *lo = 0;
    *hi = *lo + size;
}

void uv_settle(struct ui_state *st, enum ui_screen s, int lane)
{
    int n = uv_n(st, lane);
    if (n < 1) return;
    if (st->at.row >= n) uv_set_row(st, n - 1);
    if (st->at.row < 0) st->at.row = 0;
    if (st->at.key > st->at.row) st->at.key = st->at.row;
    if (st->at.key < 0) st->at.key = 0;
    struct ui_window *w = &st->at.win[s];
    if (w->q1 <= w->q0 || w->k1 <= w->k0) {
        if (st->at.row < uv_window(st, s, lane).q0) st->at.rows = UI_ROWS_ALL;
        return;
    }
    *w = uv_window(st, s, lane);
    pan_axis(&w->q0, &w->q1, n, st->at.row);
    pan_axis(&w->k0, &w->k1, n, st->at.key);
}

/* pix: the size of the map in pixels; one move is one pixel, or one token where pixels are finer. */
bool uv_map_move(struct ui_state *st, enum ui_screen s, int lane, struct ui_rect pix, enum ui_move m, int n)
{
    struct ui_window w = uv_window(st, s, lane);
    int all = uv_n(st, lane), rows = w.q1 - w.q0, keys = w.k1 - w.k0;
    int dq = pix.h > 0 && rows > pix.h ? rows / pix.h : 1, dk = pix.w > 0 && keys > pix.w ? keys / pix.w : 1;
    int row = st->at.row, key = st->at.key;
    if (all < 1) return false;
    switch (m) {
    case UI_LEFT:       key -= n * dk; break;
    case UI_RIGHT:      key += n * dk; break;
    case UI_UP:         row -= n * dq; break;
    case UI_DOWN:       row += n * dq; break;
    case UI_TOP:        row = 0; break;
    case UI_BOTTOM:     row = all - 1; break;
    case UI_LINE_START: key = 0; break;
    case UI_LINE_END:   key = row; break;
    case UI_HALF_UP:    row -= n * rows / 2; break;
    case UI_HALF_DOWN:  row += n * rows / 2; break;
    case UI_PAGE_UP:    row -= n * rows; break;
    case UI_PAGE_DOWN:  row += n * rows; break;
    default:            return false;
    }
    if (row < w.q0 && st->at.win[s].q1 <= st->at.win[s].q0) row = w.q0;
    if (row != st->at.row) uv_set_row(st, row);
    st->at.key = key < 0 ? 0 : key > st->at.row ? st->at.row : key;
    uv_settle(st, s, lane);
    return true;
}

/* ---- tiles as pictures ---- */

enum { SLOTS = 6 };
static struct {
    float *f;
    size_t cap;
} buffer[SLOTS]; /* pictures of this frame; the UI thread alone draws */

static float *floats(int slot, size_t n)
{
    if (buffer[slot].cap < n) {
        float *f = realloc(buffer[slot].f, n * sizeof *f);
        if (!f) return NULL;
        buffer[slot].f = f;
        buffer[slot].cap = n;
    }
    return buffer[slot].f;
}

/* The overview of a run holds the weights its executor saw: where prefill is sparse, those over the keys read
 * alone. So dense weights come from the lane while its prefill is dense, else from the dense run beside it.
 */
static int overview_lane(const struct ui_state *st, int lane, bool sparse)
{
    bool dense = lane == 0 || st->lane[lane].prefill.kernel > 0.9999;
    return dense != sparse ? lane : sparse ? -1 : 0;
}

static void scale_map(struct uv_map *m)
{
    size_t n = (size_t)m->w * (size_t)m->h;
    ui_pic_scale(&m->heat, m->value, m->h, m->w, m->win.q0, m->win.q1, m->t);
    /* Among sparse weights what is not read has none: empty, not the lowest colour. */
    for (size_t i = 0; m->sparse && m->kept && i < n; i++)
        if (!(m->kept[i] > 0)) m->t[i] = NAN;
}

void uv_map_rescale(struct uv_map *m, struct ui_heat heat)
{
    m->heat = heat;
    if (m->have) scale_map(m);
}

/* The range as it is asked for. Where there are few shades, five decades would be one grey: those in use. */
static void fit_heat(const struct ui_state *st, struct ui_heat *h, const float *v, size_t n)
{
    bool few = ui_pic_rows(&st->look) < 2;
    if (st->at.range == UI_RANGE_AUTO) ui_heat_auto(h, v, n);
    if (st->at.range == UI_RANGE_FIXED && few) ui_heat_stretch(h, v, n);
}

struct uv_map uv_map_get(const struct ui_state *st, int slot, int lane, const struct ui_window *win, int w,
                         int h, enum ui_req_state *rs)
{
    struct uv_map m = { .slot = slot, .win = *win, .w = w, .h = h, .heat = ui_heat_default(st->at.scale) };
    float some;
    struct sac_tile want = { .lane = lane,
                             .layer = st->at.layer,
                             .head = ui_head_arg(st),
                             .q0 = win->q0,
                             .q1 = win->q1,
                             .k0 = win->k0,
                             .k1 = win->k1,
                             .w = w,
                             .h = h,
                             .pool = st->at.pool,
                             .sinks = st->at.sinks,
                             .sparse = st->at.sparse,
                             .kept = &some,
                             .missed = &some };
    size_t n = (size_t)w * (size_t)h;
    *rs = UI_REQ_NOTHING;
    if (w < 1 || h < 1 || win->q1 <= win->q0 || win->k1 <= win->k0) return m;
    float *t = floats(slot, 2 * n);
    const struct ui_tile *u = uv_tile(st, &want, false, rs);
    m.pairs = (double)(win->q1 - win->q0) * (win->k1 - win->k0) / (double)n;
    if (!t) return m;
    m.t = t;
    if (u) {
        m.value = u->v;
        m.kept = u->v + n;
        m.missed = u->v + 2 * n;
        m.have = true;
    } else if (st->at.sinks == SAC_SINKS_SHOW && !st->at.sparse) {
        /* The overview of the run stands in until the tile arrives. */
        want.lane = overview_lane(st, lane, false);
        struct ui_tile *o = ui_tile_overview(st->trace, &want);
        if (o) {
            memcpy(t + n, o->v, n * sizeof *t);
            free(o);
            m.value = t + n;
            m.have = m.approx = true;
        }
    }
    m.exact_pending = !u && (*rs == UI_REQ_QUEUED || *rs == UI_REQ_RUNNING);
    if (!m.have) return m;
    fit_heat(st, &m.heat, m.value, n);
    m.sparse = st->at.sparse;
    scale_map(&m);
    return m;
}

void uv_map_draw(const struct ui_state *st, struct cell_buf *b, int x, int y, int lane,
                 const struct uv_map *m)
{
    const struct ui_window *w = &m->win;
    int page = sac_trace_page_size(st->trace, lane), rows = w->q1 - w->q0, keys = w->k1 - w->k0;
    struct ui_pic p = { .w = m->w,
                        .h = m->h,
                        .t = m->t,
                        .kept = m->kept,
                        .missed = m->missed,
                        .lift = m->heat.scale == UI_SCALE_LIFT,
                        .overlay = st->at.overlay,
                        .block_px = (double)(page > 1 ? page : 1) * m->w / (keys > 0 ? keys : 1),
                        .cx = -1,
                        .cy = -1,
                        .sx = -1,
                        .sy = -1,
                        .cross = true };
    if (page <= 1) p.block_px = 3;
    if (st->at.row >= w->q0 && st->at.row < w->q1) p.cy = ui_bin_of(st->at.row - w->q0, rows, m->h);
    if (st->at.key >= w->k0 && st->at.key < w->k1) p.cx = ui_bin_of(st->at.key - w->k0, keys, m->w);
    if (st->at.selecting && st->at.sel_row >= w->q0 && st->at.sel_row < w->q1 && st->at.sel_key >= w->k0
        && st->at.sel_key < w->k1) {
        p.sx = ui_bin_of(st->at.sel_key - w->k0, keys, m->w);
        p.sy = ui_bin_of(st->at.sel_row - w->q0, rows, m->h);
    }
    ui_pic_draw(&st->look, b, x, y, &p);
}

bool uv_thumb(const struct ui_state *st, int lane, int layer, int head, bool sparse, int w, int h,
              const struct ui_heat *as, float *t)
{
    float some;
    int n = uv_n(st, lane);
    struct sac_tile want = { .lane = lane,
                             .layer = layer,
                             .head = head,
                             .q1 = n,
                             .k1 = n,
                             .w = w,
                             .h = h,
                             .pool = SAC_POOL_MAX,
                             .sparse = sparse,
                             .kept = &some,
                             .missed = &some };
    if (n < 1 || w < 1 || h < 1 || lane >= st->n_lanes) return false;
    struct ui_heat heat = ui_heat_default(UI_SCALE_LOG);
    struct ui_tile *o = NULL;
    if (head >= 0 && overview_lane(st, lane, sparse) >= 0) {
        struct sac_tile prompt = want;
        prompt.lane = overview_lane(st, lane, sparse);
        prompt.q1 = prompt.k1 = st->info.n_prompt;
        o = ui_tile_overview(st->trace, &prompt);
    }
    enum ui_req_state rs;
    const struct ui_tile *u = o ? o : uv_tile(st, &want, true, &rs);
    if (!u) return false;
    if (ui_pic_rows(&st->look) < 2 && st->at.range != UI_RANGE_FULL) heat.lo = -2.5; /* one scale for all */
    if (as) heat = *as;
    ui_pic_scale(&heat, u->v, h, w, 0, n, t);
    for (int i = 0; sparse && i < w * h; i++) /* what is not read is empty */
        if (o ? !(u->v[i] > 0) : !(u->v[(size_t)w * (size_t)h + (size_t)i] > 0)) t[i] = NAN;
    free(o);
    return true;
}

void uv_minimap(const struct ui_state *st, struct cell_buf *b, struct ui_rect r, int lane,
                const struct ui_window *win, const struct ui_heat *as)
{
    int per = ui_pic_rows(&st->look), n = uv_n(st, lane);
    int h = r.h * per, w = r.w < 2 * r.h ? r.w : 2 * r.h;
    if (w < 2 || h < 2 || n < 1) return;
    float *t = floats(SLOTS - 1, (size_t)w * (size_t)h);
    if (!t || !uv_thumb(st, lane, st->at.layer, ui_head_arg(st), false, w, h, as, t)) return;
    struct ui_pic p = { .w = w, .h = h, .t = t, .cx = -1, .cy = -1, .sx = -1, .sy = -1 };
    if (win->q1 - win->q0 < n || win->k1 - win->k0 < n) {
        p.frame = true;
        p.sx = ui_bin_of(win->k0, n, w);
        p.sy = ui_bin_of(win->q0, n, h);
        p.cx = ui_bin_of(win->k1 - 1, n, w);
        p.cy = ui_bin_of(win->q1 - 1, n, h);
    } else {
        p.cx = ui_bin_of(st->at.key, n, w);
        p.cy = ui_bin_of(st->at.row, n, h);
    }
    ui_pic_draw(&st->look, b, r.x, r.y, &p);
}
