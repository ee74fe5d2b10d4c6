/* The curses back end, and all that talks to a terminal.
 *
 * Cells become wide characters with a colour pair; pairs are handed out as they are met and never recycled
 * while they are on screen. 24-bit colour does not need installed descriptions: two are compiled in and given
 * to newterm through TERMINFO for the moment of the call. The mouse is read by us in SGR form, because
 * descriptions differ in what they know of it. Fatal signals write a fixed string and put the line settings
 * back, which is all that is safe then. */
#define _XOPEN_SOURCE_EXTENDED 1
#include "screen.h"
#include "keys.h"
#include "terminfo_b64.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <wchar.h>

#include <curses.h>
#include <term.h>

#undef KEY_EVENT
enum { PASTE_ON = KEY_MAX + 101, PASTE_OFF, MOUSE_SGR, FOCUS_IN, FOCUS_OUT, REPLY_OSC, REPLY_CSI };
enum { PAIR_SLOTS = 1 << 14, PASTE_MAX = 1 << 20 };

static struct {
    SCREEN *s;
    FILE *in, *out;
    bool own_in, own_out, mouse, sync;
    int fd, err_fd;
    enum ui_tier tier;
    pthread_t thread;
    struct termios tio;
    bool have_tio;
    int ctrl[4];                        /* codes of Ctrl-arrows */
    char *paste;
    size_t n_paste;
    char typed[64]; /* keys that were there before the terminal was ours */
    int n_typed;
    struct cell *last;                  /* what is on screen */
    int last_w, last_h;
} scr = { .fd = -1, .err_fd = -1 };
static volatile sig_atomic_t got_signal;
static int signal_pipe[2] = { -1, -1 }; /* a signal may reach any thread, at any moment: this wakes the loop */
static struct sigaction curses_winch;
static struct { uint32_t fg, bg; int pair; } pairs[PAIR_SLOTS];
static int n_pairs;

#define CHECK_THREAD() assert(pthread_equal(scr.thread, pthread_self()))

/* ---- signals ---- */

static void on_fatal(int sig)
{
    static const char rst[] = "\033[?2026l\033[?1006l\033[?1002l\033[?1000l\033[?2004l\033[?1l\033>"
                              "\033[?1049l\033[?25h\033[0m\r\n";
    if (scr.fd >= 0) {
        if (write(scr.fd, rst, sizeof rst - 1) < 0) {}
        if (scr.have_tio) tcsetattr(scr.fd, TCSANOW, &scr.tio);
    }
    signal(sig, SIG_DFL);
    raise(sig);
}

static void wake_loop(void)
{
    int keep = errno;
    if (write(signal_pipe[1], "", 1) < 0) {}
    errno = keep;
}

static void on_leave(int sig)
{
    got_signal = sig;
    wake_loop();
}

static void on_resize(int sig)
{
    void (*const old)(int) = curses_winch.sa_handler;
    if (old != SIG_DFL && old != SIG_IGN) old(sig);
    wake_loop();
}

static void open_signal_pipe(void)
{
    if (signal_pipe[0] >= 0 || pipe(signal_pipe) != 0) return;
    for (int i = 0; i < 2; i++) {
        fcntl(signal_pipe[i], F_SETFL, O_NONBLOCK);
        fcntl(signal_pipe[i], F_SETFD, FD_CLOEXEC);
    }
}

static void catch_signals(void)
{
    static const int fatal[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGQUIT };
    static char own_stack[32 * 1024]; /* a stack that ran over has no room for the handler */
    stack_t stack = { .ss_sp = own_stack, .ss_size = sizeof own_stack };
    struct sigaction sa = { .sa_handler = on_fatal };
    if (sigaltstack(&stack, NULL) == 0) sa.sa_flags = SA_ONSTACK;
    open_signal_pipe();
    sigemptyset(&sa.sa_mask);
    for (size_t i = 0; i < sizeof fatal / sizeof *fatal; i++) sigaction(fatal[i], &sa, NULL);
    sa = (struct sigaction){ .sa_handler = on_leave };
    sigemptyset(&sa.sa_mask);
    sigaction(SIGTERM, &sa, NULL);
    sigaction(SIGHUP, &sa, NULL);
    sigaction(SIGINT, &sa, NULL);       /* Ctrl-C arrives as a key; kill -INT leaves like SIGTERM */
    signal(SIGPIPE, SIG_IGN);
    struct sigaction now;
    if (sigaction(SIGWINCH, NULL, &now) == 0 && now.sa_handler != on_resize) {
        curses_winch = now;
        sa.sa_handler = on_resize;
        sigaction(SIGWINCH, &sa, NULL);
    }
}

int ui_screen_signal(void)
{
    return got_signal;
}

/* ---- opening ---- */

static SCREEN *try_newterm(const char *term, const char *const *terminfo)
{
    const char *now = getenv("TERMINFO");
    char *keep = now ? strdup(now) : NULL, joined[8192];
    if (terminfo) {
        snprintf(joined, sizeof joined, "%s%s", terminfo[0], terminfo[1]);
        setenv("TERMINFO", joined, 1);
    }
    SCREEN *s = newterm(term, scr.out, scr.in);
    if (terminfo) {
        if (keep) setenv("TERMINFO", keep, 1);
        else unsetenv("TERMINFO");
    }
    free(keep);
    return s;
}

static void note_add(char *note, size_t cap, const char *text)
{
    size_t n = strlen(note);
    snprintf(note + n, cap - n, "%s%s", n ? "; " : "", text);
}

static bool open_terminal(enum ui_tier *tier, char *note, size_t cap)
{
    const char *term = getenv("TERM");
    size_t n = term ? strlen(term) : 0;
    bool direct = n > 7 && !strcmp(term + n - 7, "-direct");
    if (*tier == UI_TIER_RGB && !direct && term) {
        bool mux = !strncmp(term, "tmux", 4) || !strncmp(term, "screen", 6);
        scr.s = try_newterm(mux ? "saccade-m" : "saccade-x", mux ? terminfo_tmux : terminfo_xterm);
        if (!scr.s) note_add(note, cap, "the built-in 24-bit description was not accepted");
    }
    if (!scr.s && term) scr.s = try_newterm(NULL, NULL);
    if (!scr.s) {
        scr.s = try_newterm("xterm-256color", NULL);
        if (scr.s) note_add(note, cap, "TERM is not known here: using xterm-256color");
    }
    if (!scr.s) scr.s = try_newterm("saccade-x", terminfo_xterm);
    return scr.s != NULL;
}

static void settle_colours(enum ui_tier *tier)
{
    if (*tier == UI_TIER_MONO || !has_colors() || start_color() != OK) {
        *tier = UI_TIER_MONO;
        return;
    }
    use_default_colors();
    if (COLORS >= 0x1000000) {
        *tier = UI_TIER_RGB;      /* a -direct entry takes 24-bit values only */
    } else if (COLORS >= 256) {
        if (*tier > UI_TIER_256) *tier = UI_TIER_256;
    } else {
        *tier = COLORS >= 8 ? UI_TIER_16 : UI_TIER_MONO;
    }
}

static void raw_write(const char *s)
{
    if (!scr.out) return;
    fputs(s, scr.out);
    fflush(scr.out);
}

static void set_keys(void)
{
    static const char *const caps[4] = { "kUP5", "kDN5", "kLFT5", "kRIT5" };
    define_key("\033[200~", PASTE_ON);
    define_key("\033[201~", PASTE_OFF);
    define_key("\033[<", MOUSE_SGR);
    define_key("\033[I", FOCUS_IN);
    define_key("\033[O", FOCUS_OUT);
    define_key("\033]11;", REPLY_OSC); /* answers to ui_screen_light that come late, over a slow line */
    define_key("\033[?", REPLY_CSI);
    for (int i = 0; i < 4; i++) {
        char name[8];
        snprintf(name, sizeof name, "%s", caps[i]);
        const char *seq = tigetstr(name);
        scr.ctrl[i] = seq && seq != (char *)-1 ? key_defined(seq) : -1;
    }
}

static void modes_on(void)
{
    raw_write("\033[?2004h");
    if (scr.mouse) raw_write("\033[?1000h\033[?1002h\033[?1006h");
}

static void modes_off(void)
{
    raw_write("\033[?1006l\033[?1002l\033[?1000l\033[?2004l");
}

static void at_exit(void)
{
    ui_screen_close();
}

static enum sac_code open_streams(struct sac_err *err)
{
    if (!isatty(STDOUT_FILENO))
        return sac_fail(err, SAC_EARG,
                        "the explorer needs a terminal and standard output is none; for scripts there is "
                        "saccade run --json, for a plain session saccade --plain");
    scr.out = stdout;
    scr.own_in = scr.own_out = false;
    if (isatty(STDIN_FILENO)) {
        scr.in = stdin;
        scr.fd = STDIN_FILENO;
        return SAC_OK;
    }
    scr.in = fopen("/dev/tty", "r+");      /* stdin may be a pipe with the prompt */
    if (!scr.in)
        return sac_fail(
            err, SAC_EARG,
            "the explorer needs a terminal: standard input is none and /dev/tty cannot be opened");
    scr.own_in = true;
    scr.fd = fileno(scr.in);
    return SAC_OK;
}

enum sac_code ui_screen_open(enum ui_tier *tier, bool mouse, char *note, size_t cap, struct sac_err *err)
{
    static bool registered;
    const char *term = getenv("TERM");
    *note = 0;
    enum sac_code rc = open_streams(err);
    if (rc) return rc;
    if (term && !strcmp(term, "dumb"))
        return sac_fail(
            err, SAC_EARG,
            "TERM=dumb cannot place a cursor: use saccade --plain, or set TERM to what your terminal is");
    scr.thread = pthread_self();
    scr.have_tio = tcgetattr(scr.fd, &scr.tio) == 0;
    got_signal = 0;
    if (!getenv("ESCDELAY")) set_escdelay(25);
    if (!open_terminal(tier, note, cap)) {
        return sac_fail(err, SAC_EARG,
                        "TERM=%s is not known and no other description works: use saccade --plain",
                        term ? term : "(unset)");
    }
    char cup[] = "cup";
    const char *move = tigetstr(cup);
    if (!move || move == (char *)-1) {
        endwin();
        delscreen(scr.s);
        scr.s = NULL;
        return sac_fail(err, SAC_EARG, "TERM=%s cannot place a cursor: use saccade --plain",
                        term ? term : "(unset)");
    }
    settle_colours(tier);
    scr.tier = *tier;
    scr.mouse = mouse;
    raw();              /* Ctrl-C, Ctrl-Z and Ctrl-\ are keys: they are commands like all others */
    noecho();
    nonl();
    keypad(stdscr, TRUE);
    nodelay(stdscr, TRUE);
    intrflush(stdscr, FALSE);
    typeahead(-1); /* a frame is drawn whole, also while keys come */
    curs_set(0);
    set_keys();
    while (scr.n_typed > 0) ungetch((unsigned char)scr.typed[--scr.n_typed]);
    catch_signals();
    modes_on();
    scr.sync = term && strcmp(term, "linux") != 0;
    if (!registered) atexit(at_exit);
    registered = true;
    /* Libraries that print would damage the screen. */
    scr.err_fd = -1;
    if (isatty(STDERR_FILENO)) {
        int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
        scr.err_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
        if (null >= 0) {
            if (scr.err_fd >= 0) dup2(null, STDERR_FILENO);
            close(null);
        }
    }
    return SAC_OK;
}

void ui_screen_close(void)
{
    if (!scr.s) return;
    modes_off();
    endwin();
    delscreen(scr.s);
    scr.s = NULL;
    if (scr.err_fd >= 0) {
        dup2(scr.err_fd, STDERR_FILENO);
        close(scr.err_fd);
        scr.err_fd = -1;
    }
    if (scr.own_in) fclose(scr.in);
    scr.in = NULL;
    free(scr.last);
    free(scr.paste);
    scr.last = NULL;
    scr.paste = NULL;
    memset(pairs, 0, sizeof pairs);
    n_pairs = 0;
    scr.fd = -1;
}

void ui_screen_size(int *w, int *h)
{
    getmaxyx(stdscr, *h, *w);
}

/* ---- output ---- */

static int curses_colour(uint32_t c)
{
    if (c == CELL_DEFAULT) return -1;
    if (CELL_IS_INDEX(c)) return (int)(c & 0xff) < COLORS ? (int)(c & 0xff) : (int)(c & 7);
    return c < 8 ? 0x010101 : (int)c;       /* small values are the terminal's own palette */
}

static int pair_of(uint32_t fg, uint32_t bg)
{
    if (scr.tier == UI_TIER_MONO || (fg == CELL_DEFAULT && bg == CELL_DEFAULT)) return 0;
    uint32_t h = (fg * 2654435761u ^ bg * 40503u ^ (fg >> 9) ^ (bg << 7)) % PAIR_SLOTS;
    for (int k = 0; k < PAIR_SLOTS; k++, h = (h + 1) % PAIR_SLOTS) {
        if (pairs[h].pair && pairs[h].fg == fg && pairs[h].bg == bg) return pairs[h].pair;
        if (pairs[h].pair) continue;
        if (n_pairs + 1 >= COLOR_PAIRS || n_pairs >= PAIR_SLOTS * 3 / 4) return -1;
        int pair = n_pairs + 1;
        if (init_extended_pair(pair, curses_colour(fg), curses_colour(bg)) == ERR) return 0;
        n_pairs = pair;
        pairs[h].pair = pair;
        pairs[h].fg = fg;
        pairs[h].bg = bg;
        return pair;
    }
    return 0;
}

static void put_cell(int y, int x, const struct cell *c)
{
    char32_t g[5];
    wchar_t w[6];
    cchar_t cc;
    attr_t attr = 0;
    int n = cell_glyph(c->ch, g), pair = pair_of(c->fg, c->bg);
    if (pair < 0) pair = 0;
    if (c->attr & CELL_BOLD) attr |= A_BOLD;
    if (c->attr & CELL_UNDERLINE) attr |= A_UNDERLINE;
    if (c->attr & CELL_REVERSE) attr |= A_REVERSE;
    if (c->attr & CELL_DIM) attr |= A_DIM;
#ifdef A_ITALIC
    if (c->attr & CELL_ITALIC) attr |= A_ITALIC;
#endif
    for (int i = 0; i < n; i++) w[i] = (wchar_t)g[i];
    w[n] = 0;
    /* Where the C library thinks otherwise of the width, columns would shift: show a mark instead. */
    if (wcwidth(w[0]) != cell_width(g[0])) {
        bool wide = cell_width(g[0]) == 2;
        w[0] = wcwidth(0xfffd) == 1 ? 0xfffd : L'?';
        w[1] = 0;
        if (wide) {
            struct cell blank = { U' ', c->fg, c->bg, c->attr };
            put_cell(y, x + 1, &blank);
        }
    }
    for (int i = 1; w[i]; i++)
        if (wcwidth(w[i]) != 0) w[i] = 0;
    if (setcchar(&cc, w, attr, 0, &pair) == OK) mvadd_wch(y, x, &cc);
}

/* Room for more pairs: start a new table and paint everything once. */
static bool pairs_full(const struct cell_buf *b)
{
    for (int i = 0; i < b->w * b->h; i++)
        if (b->cell[i].ch && pair_of(b->cell[i].fg, b->cell[i].bg) < 0) return true;
    return false;
}

void ui_screen_show(const struct cell_buf *b, int cx, int cy, bool repaint)
{
    CHECK_THREAD();
    int w, h;
    getmaxyx(stdscr, h, w);
    if (pairs_full(b)) {
        reset_color_pairs();
        memset(pairs, 0, sizeof pairs);
        n_pairs = 0;
        repaint = true;
    }
    if (scr.last_w != b->w || scr.last_h != b->h || !scr.last) {
        free(scr.last);
        scr.last = malloc((size_t)b->w * (size_t)b->h * sizeof *scr.last);
        scr.last_w = b->w;
        scr.last_h = b->h;
        repaint = true;
    }
    if (repaint) {
        erase();
        clearok(curscr, TRUE);
        if (scr.last) memset(scr.last, 0xff, (size_t)b->w * (size_t)b->h * sizeof *scr.last);
    }
    for (int y = 0; y < b->h && y < h; y++)
        for (int x = 0; x < b->w && x < w; x++) {
            const struct cell *c = &b->cell[y * b->w + x];
            struct cell *l = scr.last ? &scr.last[y * b->w + x] : NULL;
            if (l && l->ch == c->ch && l->fg == c->fg && l->bg == c->bg && l->attr == c->attr) continue;
            if (c->ch) put_cell(y, x, c);
            if (l) *l = *c;
            /* A wide character that gave way to narrow ones takes its right half with it. */
            if (l && x + 1 < b->w && cell_width(c->ch ? c->ch : U' ') == 1) memset(l + 1, 0xff, sizeof *l);
        }
    if (cx >= 0 && cy >= 0 && cx < w && cy < h) {
        move(cy, cx);
        curs_set(1);
    } else {
        curs_set(0);
    }
    if (scr.sync) raw_write("\033[?2026h");
    wnoutrefresh(stdscr);
    doupdate();
    if (scr.sync) raw_write("\033[?2026l");
}

void ui_screen_mouse(bool on)
{
    if (scr.s && on != scr.mouse)
        raw_write(on ? "\033[?1000h\033[?1002h\033[?1006h" : "\033[?1006l\033[?1002l\033[?1000l");
    scr.mouse = on;
}

void ui_screen_copy(const char *text)
{
    static const char b64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t n = strlen(text);
    if (!scr.out) return;
    fputs("\033]52;c;", scr.out);
    for (size_t i = 0; i < n; i += 3) {
        unsigned v = (unsigned)(unsigned char)text[i] << 16;
        if (i + 1 < n) v |= (unsigned)(unsigned char)text[i + 1] << 8;
        if (i + 2 < n) v |= (unsigned char)text[i + 2];
        fputc(b64[v >> 18], scr.out);
        fputc(b64[v >> 12 & 63], scr.out);
        fputc(i + 1 < n ? b64[v >> 6 & 63] : '=', scr.out);
        fputc(i + 2 < n ? b64[v & 63] : '=', scr.out);
    }
    fputs("\007", scr.out);
    fflush(scr.out);
}

/* ---- input ---- */

static int translate(int code)
{
    static const struct { int curses, key;
    } map[] = {
        { KEY_UP, UI_K_UP },
        { KEY_DOWN, UI_K_DOWN },
        { KEY_LEFT, UI_K_LEFT },
        { KEY_RIGHT, UI_K_RIGHT },
        { KEY_SR, UI_K_S_UP },
        { KEY_SF, UI_K_S_DOWN },
        { KEY_SLEFT, UI_K_S_LEFT },
        { KEY_SRIGHT, UI_K_S_RIGHT },
        { KEY_HOME, UI_K_HOME },
        { KEY_END, UI_K_END },
        { KEY_PPAGE, UI_K_PGUP },
        { KEY_NPAGE, UI_K_PGDN },
        { KEY_IC, UI_K_INS },
        { KEY_DC, UI_K_DEL },
        { KEY_BTAB, UI_K_BACKTAB },
        { KEY_ENTER, UI_K_ENTER },
        { KEY_BACKSPACE, UI_K_BACKSPACE },
    };
    for (size_t i = 0; i < sizeof map / sizeof *map; i++)
        if (map[i].curses == code) return map[i].key;
    for (int i = 0; i < 4; i++)
        if (scr.ctrl[i] > 0 && scr.ctrl[i] == code) return UI_K_C_UP + i;
    if (code >= KEY_F(1) && code <= KEY_F(12)) return UI_K_F1 + code - KEY_F(1);
    return UI_KEY_NONE;
}

/* One raw character, waiting a little: the rest of a report is on its way. */
static int next_char(int *kind)
{
    wint_t c;
    for (int i = 0; i < 20; i++) {
        *kind = get_wch(&c);
        if (*kind != ERR) return (int)c;
        struct pollfd p = { scr.fd, POLLIN, 0 };
        if (poll(&p, 1, 10) < 0 && errno != EINTR) break;
    }
    return -1;
}

static bool read_mouse(struct ui_event *ev)
{
    int v[3] = { 0 }, n = 0, kind, c;
    for (int i = 0; i < 24; i++) {
        c = next_char(&kind);
        if (c < 0 || kind != OK) return false;
        if (isdigit(c)) {
            if (v[n] < 100000) v[n] = v[n] * 10 + c - '0';
        } else if (c == ';') {
            if (++n > 2) return false;
        } else {
            break;
        }
    }
    if (n != 2 || (c != 'M' && c != 'm')) return false;
    ev->kind = UI_EVENT_MOUSE;
    ev->x = v[1] - 1;
    ev->y = v[2] - 1;
    int b = v[0] & ~28;          /* without shift, meta, control */
    if (b == 64) ev->click = UI_WHEEL_UP;
    else if (b == 65) ev->click = UI_WHEEL_DOWN;
    else if (b == 0) ev->click = c == 'M' ? UI_CLICK : UI_RELEASE;
    else if (b == 32) ev->click = UI_DRAG;
    else return false;
    return c == 'M' || ev->click == UI_RELEASE;
}

static bool read_paste(struct ui_event *ev)
{
    if (!scr.paste) scr.paste = malloc(PASTE_MAX + 8);
    if (!scr.paste) return false;
    scr.n_paste = 0;
    for (;;) {
        int kind, c = next_char(&kind);
        if (c < 0 || (kind == KEY_CODE_YES && c == PASTE_OFF)) break;
        if (kind == KEY_CODE_YES) continue;
        if (scr.n_paste + 4 > PASTE_MAX) continue;
        if (c == '\r') c = '\n';
        scr.n_paste += (size_t)cell_encode((char32_t)c, scr.paste + scr.n_paste);
    }
    scr.paste[scr.n_paste] = 0;
    ev->kind = UI_EVENT_PASTE;
    ev->text = scr.paste;
    ev->len = scr.n_paste;
    return true;
}

/* An answer of the terminal, to its end: BEL or ESC \ for a colour, a letter for the attributes. */
static void skip_reply(bool osc)
{
    for (int i = 0, esc = 0; i < 80; i++) {
        int kind, c = next_char(&kind);
        if (c < 0 || kind != OK) return;
        if (osc ? c == 7 || (esc && c == '\\') : isalpha(c)) return;
        esc = c == 27;
    }
}

struct ui_event ui_screen_event(void)
{
    struct ui_event ev = { .kind = UI_EVENT_NONE };
    wint_t c;
    CHECK_THREAD();
    for (;;) {
        int kind = get_wch(&c);
        if (kind == ERR) return ev;
        if (kind == KEY_CODE_YES) {
            int code = (int)c;
            if (code == KEY_RESIZE) return ev.kind = UI_EVENT_RESIZE, ev;
            if (code == PASTE_ON && read_paste(&ev)) return ev;
            if (code == MOUSE_SGR && read_mouse(&ev)) return ev;
            if (code == REPLY_OSC || code == REPLY_CSI) skip_reply(code == REPLY_OSC);
            if (code == REPLY_OSC || code == REPLY_CSI || code == MOUSE_SGR || code == PASTE_ON ||
                code == PASTE_OFF || code == FOCUS_IN || code == FOCUS_OUT)
                continue;
            ev.key = translate(code);
            if (!ev.key) continue;
            return ev.kind = UI_EVENT_KEY, ev;
        }
        ev.kind = UI_EVENT_KEY;
        ev.key = c == '\n' ? UI_K_ENTER : c == 8 ? UI_K_BACKSPACE : (int)c;
        if (ev.key == 0) continue;
        if (ev.key == UI_K_ESC) {           /* Alt-x arrives as Esc x at once */
            wint_t d;
            int k2 = get_wch(&d);
            if (k2 == OK && d >= 32 && d != 127) ev.key = (int)d | UI_KEY_ALT;
            else if (k2 == OK) unget_wch((wchar_t)d);
            else if (k2 == KEY_CODE_YES) ungetch((int)d);
        }
        return ev;
    }
}

bool ui_screen_wait(int wake, int ms)
{
    bool woken = false;
    struct pollfd p[3] = { { scr.fd, POLLIN, 0 }, { wake, POLLIN, 0 }, { signal_pipe[0], POLLIN, 0 } };
    int r = poll(p, 3, ms);
    if (r > 0 && p[0].revents & (POLLHUP | POLLERR | POLLNVAL)) got_signal = SIGHUP;
    for (int i = 1; r > 0 && i < 3; i++) {
        char b[256];
        if (!(p[i].revents & POLLIN)) continue;
        while (read(p[i].fd, b, sizeof b) > 0) {}
        woken = true;
    }
    return woken;
}

/* ---- leaving for a while ---- */

static void leave(void)
{
    modes_off();
    def_prog_mode();
    endwin();
}

static void come_back(void)
{
    reset_prog_mode();
    modes_on();
    clearok(curscr, TRUE);
    refresh();
    free(scr.last);
    scr.last = NULL;
}

void ui_screen_suspend(void)
{
    leave();
    kill(getpid(), SIGSTOP);
    come_back();
}

int ui_screen_edit(const char *path)
{
    const char *editor = getenv("VISUAL");
    if (!editor || !*editor) editor = getenv("EDITOR");
    if (!editor || !*editor) editor = "vi";
    leave();
    int status = -1;
    pid_t pid = fork();
    if (pid == 0) {
        char cmd[1024];
        signal(SIGINT, SIG_DFL);
        signal(SIGQUIT, SIG_DFL);
        if (scr.err_fd >= 0) dup2(scr.err_fd, STDERR_FILENO);
        dup2(scr.fd, STDIN_FILENO);
        snprintf(cmd, sizeof cmd, "%s \"$1\"", editor);
        execl("/bin/sh", "sh", "-c", cmd, "sh", path, (char *)NULL);
        _exit(127);
    }
    if (pid > 0)
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
    come_back();
    return pid < 0 || !WIFEXITED(status) ? -1 : WEXITSTATUS(status) == 127 ? -1 : WEXITSTATUS(status);
}

/* ---- what terminal is this ---- */

static int parse_background(const char *buf)
{
    const char *p = strstr(buf, "rgb:");
    unsigned r, g, b;
    if (!p || sscanf(p, "rgb:%4x/%4x/%4x", &r, &g, &b) != 3) return -1;
    size_t digits = strcspn(p + 4, "/");
    int shift = digits == 4 ? 8 : 0;
    uint32_t rgb = (r >> shift & 0xff) << 16 | (g >> shift & 0xff) << 8 | (b >> shift & 0xff);
    return ui_luminance(rgb) > 0.5;
}

/* What a person typed while the terminal was being asked: all but the answers. Keys that send sequences are
 * left out: they could not be told from an answer that came in parts. */
static void keep_typed(const char *s, size_t n)
{
    scr.n_typed = 0;
    for (size_t i = 0; i < n; i++) {
        if (s[i] != 27) {
            if (scr.n_typed < (int)sizeof scr.typed) scr.typed[scr.n_typed++] = s[i];
        } else if (i + 1 < n && s[i + 1] == ']') {
            while (i < n && s[i] != 7 && !(s[i] == '\\' && s[i - 1] == 27)) i++;
        } else if (i + 1 < n && (s[i + 1] == '[' || s[i + 1] == 'O')) {
            for (i += 2; i < n && !isalpha((unsigned char)s[i]) && s[i] != '~'; i++) {}
        }
    }
}

int ui_screen_light(void)
{
    const char *term = getenv("TERM");
    struct termios old, t;
    int fd = STDIN_FILENO, light = -1;
    if (!isatty(fd) || !isatty(STDOUT_FILENO) || !term || !strncmp(term, "tmux", 4) ||
        !strncmp(term, "screen", 6) || !strcmp(term, "linux") || !strcmp(term, "dumb") ||
        !strncmp(term, "vt", 2) || getenv("TMUX"))
        return -1;
    if (tcgetattr(fd, &old) != 0) return -1;
    t = old;
    t.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    t.c_cc[VMIN] = 0;
    t.c_cc[VTIME] = 0;
    tcsetattr(fd, TCSANOW, &t);
    static const char ask[] = "\033]11;?\033\\\033[c";
    char buf[256];
    size_t n = 0;
    if (write(STDOUT_FILENO, ask, sizeof ask - 1) > 0) {
        double end = ui_clock() + 0.15;
        while (n + 1 < sizeof buf && ui_clock() < end) {
            struct pollfd p = { fd, POLLIN, 0 };
            if (poll(&p, 1, (int)((end - ui_clock()) * 1000) + 1) <= 0) break;
            ssize_t got = read(fd, buf + n, sizeof buf - 1 - n);
            if (got <= 0) break;
            n += (size_t)got;
            buf[n] = 0;
            const char *da = strstr(buf, "\033[?");
            if (da && strchr(da, 'c')) break;       /* the answer every terminal gives: nothing more comes */
        }
    }
    buf[n] = 0;
    light = parse_background(buf);
    keep_typed(buf, n);
    tcsetattr(fd, TCSANOW, &old);
    return light;
}

const char *ui_screen_library(void)
{
    return curses_version();
}

void ui_screen_describe(char *buf, size_t cap)
{
    int rc;
    const char *term = getenv("TERM");
    if (!term || setupterm(term, STDOUT_FILENO, &rc) != OK) {
        snprintf(buf, cap, "TERM=%s: no description installed", term ? term : "(unset)");
        return;
    }
    char colors[] = "colors", pairs_cap[] = "pairs", cup[] = "cup";
    const char *c = tigetstr(cup);
    snprintf(buf, cap, "TERM=%s: %d colours, %d pairs, cursor %s", term, tigetnum(colors),
             tigetnum(pairs_cap), c && c != (char *)-1 ? "yes" : "no");
    del_curterm(cur_term);
}
