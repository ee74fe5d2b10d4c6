/* Scripts that play: a recorded session or a tour on screen, at a pace, with captions; and asciicasts of
 * them.
 *
 * A script is a list of command lines, as session logs are. Lines that begin with '#' are text: a block of
 * them is the caption shown from there on, "#! wait 3" says how long the frame so far stays, and "#! line 0"
 * how long lines stay from there on that say nothing of it (1 second). The player runs a line when everything
 * that the one before asked for has been computed and its time is over. Space stops and goes on, Enter goes on
 * to the next at once, Esc ends it; any other key stops it and does what it always does, so a speaker can look
 * around at any moment. A pace of 0 runs all lines at once and shows no captions: that is how a figure's view
 * is opened. */
#include "base.h"
#include "export_screen.h"
#include "figure.h"
#include "keys.h"
#include "work.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { CAPTION_MAX = 600, LINE_S = 1 };

struct ui_player {
    const char *script, *at;
    int n_captions, caption_no;
    char caption[CAPTION_MAX];
    bool joined;                   /* the next text line belongs to the same caption */
    bool paused, done;
    double due, wait;              /* when the next line runs; what it waits for, set by "#! wait" */
    bool next;                     /* Enter: the next wait is over, be it this one or one a few lines on */
    double line_s;                 /* what a line waits for otherwise, "#! line" */
    FILE *cast;                    /* the asciicast in memory, written when it is whole */
    char *cast_text; size_t cast_len;
    double cast_t;
};

static int count_captions(const char *s)
{
    int n = 0;
    bool in = false;
    while (*s) {
        bool text = *s == '#' && s[1] != '!';
        n += text && !in;
        in = text;
        s += strcspn(s, "\n");
        s += *s == '\n';
    }
    return n;
}

static struct ui_player *player_of(struct ui_state *st)
{
    struct ui_app *a = st->app;
    if (!a->player && a->opts->script && !st->plain) {
        a->player = calloc(1, sizeof *a->player);
        if (!a->player) return NULL;
        a->player->script = a->player->at = a->opts->script;
        a->player->n_captions = count_captions(a->opts->script);
        a->player->line_s = LINE_S;
        a->player->done = a->headless;      /* without a screen the script has its own loop */
    }
    return a->player;
}

void ui_player_free(struct ui_player *p)
{
    if (!p) return;
    if (p->cast) fclose(p->cast);
    free(p->cast_text);
    free(p);
}

static double pace_of(const struct ui_state *st) { return st->app->opts->pace; }

/* A text line: caption or direction. False: a command, to be run by the caller. */
static bool text_line(struct ui_player *p, const char *line)
{
    double s;
    while (*line == ' ') line++;
    if (!*line) return true;
    if (*line != '#') {
        p->joined = false;
        return false;
    }
    bool wait = sscanf(line, "#! wait %lf", &s) == 1;
    if (wait || sscanf(line, "#! line %lf", &s) == 1) {
        *(wait ? &p->wait : &p->line_s) = !(s > 0) ? 0 : s > 600 ? 600 : s;
        p->joined = false;
        return true;
    }
    line++;
    while (*line == ' ') line++;
    size_t n = p->joined ? strlen(p->caption) : 0;
    snprintf(p->caption + n, sizeof p->caption - n, "%s%s", n ? " " : "", line);
    if (!p->joined) p->caption_no++;
    p->joined = true;
    return true;
}

/* ---- on screen ---- */

static bool busy(struct ui_state *st)
{
    return ui_run_busy(st) || ui_tasks_busy(st) || ui_shots_busy(st) || !ui_work_idle(st->work);
}

/* A line of a file was refused: which one, before the reason. */
static void refused(struct ui_state *st, const struct ui_player *p, const char *from)
{
    char why[sizeof st->app->say];
    int no = 1;
    if (!st->app->opts->script_name) return;
    for (const char *s = p->script; s < from; s++) no += *s == '\n';
    snprintf(why, sizeof why, "%s", st->app->say);
    ui_say(st, UI_SAY_BAD, "%s: line %d: %s", st->app->opts->script_name, no, why);
}

/* Run lines until one is a command, or until a direction says to wait. */
static void advance(struct ui_state *st, struct ui_player *p)
{
    while (*p->at) {
        char line[UI_INPUT_MAX];
        const char *from = p->at;
        size_t n = strcspn(p->at, "\n");
        snprintf(line, sizeof line, "%.*s", (int)(n < sizeof line ? n : sizeof line - 1), p->at);
        p->at += n + (p->at[n] == '\n');
        p->wait = p->line_s;
        if (strncmp(line, "#@", 2) != 0 && text_line(p, line)) {
            if (!strncmp(line, "#! wait", 7)) break;
            continue;
        }
        if (!ui_script_line(st, from, n)) {
            p->paused = pace_of(st) > 0;
            refused(st, p, from);
        }
        break;
    }
    p->due = 0;
    if (!*p->at) p->done = pace_of(st) <= 0;
    st->app->dirty = true;
}

static void play(struct ui_state *st, struct ui_player *p)
{
    if (p->done || p->paused || st->app->mode != UI_MODE_NORMAL || !*p->at) return;
    if (busy(st)) {
        p->due = 0;      /* the time counts from the finished frame */
        ui_wake_in(st, 0.1);
        return;
    }
    if (p->due <= 0) p->due = st->now + (p->next ? 0 : p->wait * pace_of(st));
    if (st->now + 0.001 >= p->due) {
        if (p->wait > 0) p->next = false;
        advance(st, p);
        ui_wake_in(st, 0.02);
    } else ui_wake_in(st, p->due - st->now);
}

bool ui_player_key(struct ui_state *st, int key)
{
    struct ui_player *p = st->app->player;
    if (!p || p->done || pace_of(st) <= 0 || st->app->mode != UI_MODE_NORMAL) return false;
    st->app->dirty = true;
    if (key == UI_K_ESC || (key == UI_K_ENTER && !*p->at)) {
        p->done = true;
        ui_say(st, UI_SAY_INFO, "the tour is over: everything is yours, ? shows the keys");
    } else if (key == ' ') {
        p->paused = !p->paused;
        p->due = 0;
    } else if (key == UI_K_ENTER) {
        p->paused = false;
        p->next = true;
        p->due = 0;
    } else {
        p->paused = true;
        return false;
    }
    return true;
}

/* ---- the caption ---- */

/* Lines of text in w columns; at most n. */
static int wrap(const char *s, int w, const char **line, size_t *len, int most)
{
    int n = 0;
    while (*s && n < most) {
        size_t all = strlen(s), cut = cells_text_cut(s, all, w);
        if (cut < all) {
            size_t k = cut;
            while (k > 0 && s[k] != ' ') k--;
            if (k > 0) cut = k;
        }
        if (!cut) cut = 1;
        line[n] = s;
        len[n++] = cut;
        s += cut;
        while (*s == ' ') s++;
    }
    return n;
}

enum { CAPTION_LINES = 6, VIEW_LEAST = 16 };

static bool shows_caption(const struct ui_state *st, const struct ui_player *p)
{
    return p && pace_of(st) > 0 && (!p->done || st->app->headless) && *p->caption;
}

/* Lines of the box; 0 where the screen is too small for one. */
static int caption_height(const struct ui_player *p, const struct cell_buf *b)
{
    const char *line[CAPTION_LINES];
    size_t len[CAPTION_LINES];
    if (b->h < 14 || b->w < 60) return 0;
    return wrap(p->caption, b->w - 4, line, len, CAPTION_LINES) + 2;
}

static void draw_caption(const struct ui_state *st, const struct ui_player *p, struct cell_buf *b)
{
    const char *line[CAPTION_LINES];
    size_t len[CAPTION_LINES];
    int h = caption_height(p, b), n = wrap(p->caption, b->w - 4, line, len, CAPTION_LINES);
    if (!h) return;
    struct ui_style text = ui_style(&st->look, UI_STRONG), title_style = ui_style(&st->look, UI_TITLE);
    struct ui_rect r = { 0, b->h - h, b->w, h };
    char title[48];
    snprintf(title, sizeof title, "Tour  %d of %d", p->caption_no, p->n_captions);
    b->clip = (struct ui_rect){ 0, 0, b->w, b->h };
    cells_fill(b, r, U' ', text);
    struct ui_rect in = cells_box(b, r, title, true, ui_style(&st->look, UI_LINE_FOCUS), title_style);
    for (int i = 0; i < n; i++) cells_textn(b, in.x + 1, in.y + i, in.w - 2, line[i], len[i], text);
    const char *hint = !*p->at    ? " the end: Enter or Esc, and it is yours "
                       : p->paused ? " paused: every key works  Space goes on  Enter next  Esc ends the tour "
                                   : " Space stops  Enter next  Esc ends the tour ";
    if ((int)strlen(hint) >= b->w - 24 && p->paused) hint = " paused: Space goes on  Esc ends the tour ";
    int w = (int)strlen(hint);
    if (w < b->w - 24) cells_text(b, b->w - 2 - w, r.y, w, hint, title_style);
}

/* The view is drawn above the caption, so that nothing is hidden; small screens have the caption over it. */
int ui_player_room(struct ui_state *st, const struct cell_buf *b)
{
    struct ui_player *p = player_of(st);
    if (!p) return 0;
    if (!p->done) play(st, p);
    if (st->app->opts->restore && !st->app->headless && !st->app->restored && !*p->at && !busy(st)) {
        st->app->restored = true;
        ui_screen_restore(st);
    }
    int h = shows_caption(st, p) ? caption_height(p, b) : 0;
    return b->h - h >= VIEW_LEAST ? h : 0;
}

void ui_player_frame(struct ui_state *st, struct cell_buf *b)
{
    struct ui_player *p = player_of(st);
    if (shows_caption(st, p)) draw_caption(st, p, b);
}

/* ---- without a screen ---- */

void ui_player_line(struct ui_state *st, const char *line)
{
    struct ui_player *p = player_of(st);
    if (!p) return;
    p->at += strcspn(p->at, "\n");
    p->at += *p->at == '\n';
    p->wait = p->line_s;
    text_line(p, line);
}

static void cast_header(const struct ui_state *st, struct ui_player *p)
{
    fprintf(p->cast,
            "{\"version\": 2, \"width\": %d, \"height\": %d, \"title\": \"saccade\", \"env\": {\"TERM\": "
            "\"xterm-256color\"}}\n",
            st->app->buf.w, st->app->buf.h);
}

/* The whole screen: home, then every line. */
static bool cast_frame(const struct ui_state *st, struct ui_player *p)
{
    char *raw = NULL, *out = NULL;
    size_t n = 0, m = 0;
    FILE *f = open_memstream(&raw, &n), *g = f ? open_memstream(&out, &m) : NULL;
    if (!g) {
        if (f) fclose(f);
        free(raw);
        return false;
    }
    cells_dump_ansi(&st->app->buf, f);
    fclose(f);
    while (n && raw[n - 1] == '\n') n--;
    fputs("\033[H", g);
    for (size_t i = 0; i < n; i++) {
        if (raw[i] == '\n') fputs("\033[K\r", g);
        fputc(raw[i], g);
    }
    fputs("\033[0m\033[J", g);
    fclose(g);
    json_t *text = json_stringn(out, m);
    char *quoted = text ? json_dumps(text, JSON_ENCODE_ANY) : NULL;
    bool ok = quoted && fprintf(p->cast, "[%.3f, \"o\", %s]\n", p->cast_t, quoted) > 0;
    free(quoted);
    json_decref(text);
    free(out);
    free(raw);
    return ok;
}

bool ui_player_cast(struct ui_state *st, struct sac_err *err)
{
    struct ui_player *p = player_of(st);
    if (!p || !st->app->opts->cast) return true;
    if (!p->cast && (p->cast = open_memstream(&p->cast_text, &p->cast_len))) cast_header(st, p);
    bool ok = p->cast && cast_frame(st, p) && fflush(p->cast) == 0;
    p->cast_t += p->wait * (pace_of(st) > 0 ? pace_of(st) : 1);
    return ok ? true : (sac_fail(err, SAC_ENOMEM, "out of memory for the asciicast"), false);
}

bool ui_player_cast_write(struct ui_state *st, struct sac_err *err)
{
    struct ui_player *p = player_of(st);
    const struct ui_app_opts *o = st->app->opts;
    if (!p || !o->cast) return true;
    if (!p->cast && !ui_player_cast(st, err)) return false;
    bool ok = fclose(p->cast) == 0;
    p->cast = NULL;
    if (!ok) return sac_fail(err, SAC_ENOMEM, "out of memory for the asciicast"), false;
    return figure_write(o->cast, p->cast_text, p->cast_len, o->force, err) == SAC_OK;
}
