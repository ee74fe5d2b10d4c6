/* The real program in a pseudo-terminal that we own and read with libvterm: every TERM, colour tier and size,
 * resize storms, signals, crashes, pasted text, closed terminals. After every exit the line settings are as
 * before and the cursor is visible. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#ifdef __APPLE__
#include <util.h>
#else
#include <pty.h>
#endif
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#include <utmp.h>
#include <vterm.h>

#include <cmocka.h>

enum { WAIT_S = 60 };
struct term {
    VTerm *vt;
    VTermScreen *screen;
    int fd, slave, w, h, status;
    pid_t pid;
    bool cursor, ended, saw_rgb, saw_256;
    char tail[4];
};

static void reply(const char *s, size_t len, void *ctx)
{
    struct term *t = ctx;
    if (write(t->fd, s, len) < 0) {}
}

static int on_prop(VTermProp prop, VTermValue *v, void *ctx)
{
    if (prop == VTERM_PROP_CURSORVISIBLE) ((struct term *)ctx)->cursor = v->boolean;
    return 1;
}

static const VTermScreenCallbacks callbacks = { .settermprop = on_prop };

static double now_s(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

/* env: NAME=value or NAME (unset), NULL-terminated. args likewise. */
static void start(struct term *t, int w, int h, const char *const *env, const char *const *args)
{
    struct winsize ws = { (unsigned short)h, (unsigned short)w, 0, 0 };
    memset(t, 0, sizeof *t);
    t->w = w;
    t->h = h;
    t->cursor = true;
    t->vt = vterm_new(h, w);
    vterm_set_utf8(t->vt, 1);
    vterm_output_set_callback(t->vt, reply, t);
    t->screen = vterm_obtain_screen(t->vt);
    vterm_screen_set_callbacks(t->screen, &callbacks, t);
    vterm_screen_enable_altscreen(t->screen, 1);
    vterm_screen_reset(t->screen, 1);
    /* The slave stays open here too, so that its settings can be read after the program has gone. */
    assert_int_equal(openpty(&t->fd, &t->slave, NULL, NULL, &ws), 0);
    fcntl(t->fd, F_SETFD, FD_CLOEXEC);
    t->pid = fork();
    assert_true(t->pid >= 0);
    if (!t->pid) {
        const char *argv[24] = { SACCADE_BIN };
        login_tty(t->slave);
        unsetenv("NO_COLOR");
        unsetenv("COLORTERM");
        unsetenv("TMUX");
        setenv("LC_ALL", "C.UTF-8", 1);
        setenv("XDG_STATE_HOME", "/dev/null/none", 1);
        setenv("XDG_CONFIG_HOME", "/dev/null/none", 1);
        for (int i = 0; env && env[i]; i++) {
            char name[64];
            const char *eq = strchr(env[i], '=');
            snprintf(name, sizeof name, "%.*s", (int)strcspn(env[i], "="), env[i]);
            if (eq) setenv(name, eq + 1, 1);
            else unsetenv(name);
        }
        int n = 1;
        for (int i = 0; args && args[i] && n < 23; i++) argv[n++] = args[i];
        char **child;
        memcpy(&child, &(const char **){ argv }, sizeof child);
        execv(SACCADE_BIN, child);
        _exit(127);
    }
}

static void row_text(struct term *t, int y, char *out, size_t cap)
{
    VTermRect r = { .start_row = y, .end_row = y + 1, .start_col = 0, .end_col = t->w };
    size_t n = vterm_screen_get_text(t->screen, out, cap - 1, r);
    out[n < cap ? n : cap - 1] = 0;
}

static bool shows(struct term *t, const char *text)
{
    char line[4096];
    for (int y = 0; y < t->h; y++) {
        row_text(t, y, line, sizeof line);
        if (strstr(line, text)) return true;
    }
    return false;
}

static void print_screen(struct term *t)
{
    char line[4096];
    for (int y = 0; y < t->h; y++) {
        row_text(t, y, line, sizeof line);
        fprintf(stderr, "|%s\n", line);
    }
}

/* Read what has come for at most `ms`; false when the other end has gone. */
static bool pump(struct term *t, int ms)
{
    struct pollfd p = { t->fd, POLLIN, 0 };
    char buf[8192];
    if (poll(&p, 1, ms) <= 0) return true;
    ssize_t n = read(t->fd, buf, sizeof buf);
    if (n <= 0) return false;
    for (ssize_t i = 0; i + 5 < n; i++) {
        t->saw_rgb |= !memcmp(buf + i, "8;2;", 4);
        t->saw_256 |= !memcmp(buf + i, "8;5;", 4);
    }
    vterm_input_write(t->vt, buf, (size_t)n);
    return true;
}

static void wait_for(struct term *t, const char *text)
{
    double end = now_s() + WAIT_S;
    while (!shows(t, text)) {
        if (!pump(t, 50) || now_s() > end) {
            print_screen(t);
            fail_msg("'%s' did not appear", text);
        }
    }
}

static void gone(struct term *t, const char *text)
{
    double end = now_s() + WAIT_S;
    while (shows(t, text)) {
        if (!pump(t, 50) || now_s() > end) {
            print_screen(t);
            fail_msg("'%s' did not go away", text);
        }
    }
}

static void quiet(struct term *t)
{
    for (int still = 0; still < 4;) {
        struct pollfd p = { t->fd, POLLIN, 0 };
        if (poll(&p, 1, 50) > 0 && pump(t, 0)) still = 0;
        else still++;
    }
}

static void keys(struct term *t, const char *s)
{
    if (write(t->fd, s, strlen(s)) < 0) fail_msg("cannot write to the terminal");
}

static void resize(struct term *t, int w, int h)
{
    struct winsize ws = { (unsigned short)h, (unsigned short)w, 0, 0 };
    t->w = w;
    t->h = h;
    vterm_set_size(t->vt, h, w);
    ioctl(t->fd, TIOCSWINSZ, &ws);
}

/* Wait for the end; the terminal must be as it was. Returns the exit code, or 128 + signal. */
static int finish(struct term *t)
{
    double end = now_s() + WAIT_S;
    while (waitpid(t->pid, &t->status, WNOHANG) == 0) {
        pump(t, 20);
        if (now_s() > end) {
            print_screen(t);
            kill(t->pid, SIGKILL);
            fail_msg("the program did not end");
        }
    }
    for (int i = 0; i < 20; i++) pump(t, 10);
    struct termios tio;
    assert_int_equal(tcgetattr(t->slave, &tio), 0);
    assert_true(tio.c_lflag & ICANON);
    assert_true(tio.c_lflag & ECHO);
    assert_true(tio.c_lflag & ISIG);
    assert_true(tio.c_oflag & OPOST);
    assert_true(t->cursor);
    vterm_free(t->vt);
    close(t->fd);
    close(t->slave);
    return WIFEXITED(t->status) ? WEXITSTATUS(t->status) : 128 + WTERMSIG(t->status);
}

static const char *const idle[] = { "--no-run", NULL };

static void test_terms(void **state)
{
    (void)state;
    static const struct { const char *env[4]; const char *arg; bool rgb, c256; } cases[] = {
        { { "TERM=xterm-256color", "COLORTERM=truecolor" }, NULL, true, false },
        { { "TERM=tmux-256color", "COLORTERM=truecolor" }, NULL, true, false },
        { { "TERM=screen-256color", "COLORTERM=24bit" }, NULL, true, false },
        { { "TERM=xterm-256color" }, NULL, false, true },
        { { "TERM=xterm-256color" }, "--color=rgb", true, false },
        { { "TERM=xterm-256color", "COLORTERM=truecolor" }, "--color=256", false, true },
        { { "TERM=xterm-256color", "COLORTERM=truecolor", "NO_COLOR=1" }, NULL, false, false },
        { { "TERM=xterm" }, NULL, false, false },
        { { "TERM=vt100" }, NULL, false, false },
        { { "TERM=linux" }, NULL, false, false },
        { { "TERM=no-such-terminal", "COLORTERM=truecolor" }, NULL, true, false },
        { { "TERM=no-such-terminal" }, NULL, false, true },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct term t;
        const char *const args[] = { "--no-run", cases[i].arg, NULL };
        start(&t, 100, 30, cases[i].env, args);
        wait_for(&t, "1 Run");
        wait_for(&t, "dense");
        quiet(&t);
        if (t.saw_rgb != cases[i].rgb || t.saw_256 != cases[i].c256)
            fail_msg("case %zu: 24-bit %d, 256 colours %d", i, t.saw_rgb, t.saw_256);
        keys(&t, "?");
        wait_for(&t, "Help");
        keys(&t, "\033");
        gone(&t, "Esc closes");
        keys(&t, "Q");
        assert_int_equal(finish(&t), 0);
    }
}

static void test_sizes(void **state)
{
    (void)state;
    static const int size[][2] = { { 60, 12 }, { 80, 24 }, { 120, 40 }, { 200, 60 }, { 400, 100 } };
    static const char *const env[] = { "TERM=xterm-256color", NULL };
    struct term t;
    start(&t, 59, 11, env, idle);
    wait_for(&t, "need 60x12, have 59x11");
    for (int i = 0; i < 5; i++) {
        resize(&t, size[i][0], size[i][1]);
        wait_for(&t, "1 Run");
        keys(&t, "7");
        wait_for(&t, "task");
        keys(&t, "1");
    }
    for (int i = 0; i < 60; i++) resize(&t, 40 + i * 7 % 160, 8 + i * 5 % 60);      /* a storm */
    resize(&t, 80, 24);
    quiet(&t);
    wait_for(&t, "1 Run");
    resize(&t, 50, 10);
    wait_for(&t, "need 60x12, have 50x10");
    keys(&t, "Q");
    assert_int_equal(finish(&t), 0);
}

static void test_ascii(void **state)
{
    (void)state;
    static const char *const env[] = { "TERM=xterm-256color", "LC_ALL=C", NULL };
    struct term t;
    start(&t, 80, 24, env, idle);
    wait_for(&t, "1 Run");
    quiet(&t);
    for (int y = 0; y < t.h; y++)
        for (int x = 0; x < t.w; x++) {
            VTermScreenCell c;
            vterm_screen_get_cell(t.screen, (VTermPos){ y, x }, &c);
            if (c.chars[0] > 126) fail_msg("row %d column %d: U+%04X", y, x, c.chars[0]);
        }
    keys(&t, "Q");
    assert_int_equal(finish(&t), 0);
}

static void test_signals(void **state)
{
    (void)state;
    static const struct {
        int sig, code;
    } cases[] = { { SIGTERM, 143 },
                  { SIGHUP, 129 },
                  { SIGINT, 130 },
                  { SIGSEGV, 128 + SIGSEGV },
                  { SIGABRT, 128 + SIGABRT } };
    static const char *const env[] = { "TERM=xterm-256color", "COLORTERM=truecolor",
                                       "ASAN_OPTIONS=handle_segv=0:handle_abort=0", NULL };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct term t;
        start(&t, 80, 24, env, idle);
        wait_for(&t, "1 Run");
        quiet(&t);
        kill(t.pid, cases[i].sig);
        assert_int_equal(finish(&t), cases[i].code);
    }
}

static void test_keys(void **state)
{
    (void)state;
    static const char *const env[] = { "TERM=xterm-256color", NULL };
    struct term t;
    start(&t, 100, 30, env, idle);
    wait_for(&t, "1 Run");
    keys(&t, "\033[200~rm -rf\nQQq\003\033[201~");      /* pasted: becomes the prompt, runs nothing */
    wait_for(&t, "prompt of");
    keys(&t, "\033[<0;36;1M\033[<0;36;1m");             /* a click on the tabs */
    quiet(&t);
    keys(&t, ":screen ta\t\r");
    wait_for(&t, "Scores");
    keys(&t, "\033[1;2B\033[H\033[F\033[5~\033[6~\033OP");
    wait_for(&t, "Help");
    keys(&t, "\033");
    quiet(&t);
    assert_false(shows(&t, "Esc closes"));
    keys(&t, "\003");
    wait_for(&t, "twice");
    keys(&t, "\003");
    assert_int_equal(finish(&t), 0);
}

static void test_no_terminal(void **state)
{
    (void)state;
    static const char *const env[] = { "TERM=dumb", NULL };
    struct term t;
    start(&t, 80, 24, env, idle);
    assert_int_equal(finish(&t), 2);
    int rc = system("'" SACCADE_BIN "' --no-run >/dev/null 2>&1 </dev/null");
    assert_int_equal(WEXITSTATUS(rc), 2);
}

/* While all cores prefill: sizes that change, a key held down, pasted bytes that are no text; then a signal.
 */
static void test_busy(void **state)
{
    (void)state;
    static const char *const env[] = { "TERM=xterm-256color", "COLORTERM=truecolor", NULL };
    static const char *const args[] = { "--task", "niah", "--length", "2048", NULL };
    static const char junk[] = "\033[200~\xff\xfe\x01 \xe6\x97\xa5\xcc\x81 \xd7\xa9\033[201~";
    for (int i = 0; i < 2; i++) {
        struct term t;
        start(&t, 120, 40, env, args);
        wait_for(&t, "prefill");
        for (int k = 0; k < 40; k++) {
            resize(&t, 60 + k * 13 % 140, 12 + k * 7 % 48);
            keys(&t, "jjjjjjjjjj");
            if (k % 8 == 0) keys(&t, (const char[]){ (char)('1' + k / 8), 0 });
            pump(&t, 5);
        }
        resize(&t, 120, 40);
        keys(&t, "1");
        keys(&t, junk);
        wait_for(&t, "prompt of");
        if (i == 0) {
            kill(t.pid, SIGTERM);
            assert_int_equal(finish(&t), 143);
            continue;
        }
        keys(&t, "\003\003");                           /* Ctrl-C twice: leaves in the middle of a layer */
        assert_int_equal(finish(&t), 0);
    }
}

/* No key is lost at the start: those typed before the terminal is ours count, answers of a slow terminal that
 * come late are no keys, and Ctrl-C stops at any moment of opening a model and making a prompt. */
static void test_early(void **state)
{
    (void)state;
    static const char *const env[] = { "TERM=xterm-256color", NULL };
    static const char *const args[] = { "--task", "niah", "--length", "2048", NULL };
    struct term t;
    start(&t, 100, 30, env, idle);
    keys(&t, "7");
    wait_for(&t, "Scores");
    keys(&t, "\033]11;rgb:1e1e/1e1e/2e2e\033\\\033[?62;22c\033]11;rgb:ffff/ffff/ffff\007");
    keys(&t, "?");
    wait_for(&t, "Help");
    keys(&t, "\033");
    gone(&t, "Help");
    assert_true(shows(&t, "Scores"));
    keys(&t, "Q");
    assert_int_equal(finish(&t), 0);
    for (int i = 0; i < 12; i++) {
        start(&t, 100, 30, env, args);
        wait_for(&t, "Methods");
        usleep((useconds_t)(4000 * i));
        keys(&t, "\003");
        wait_for(&t, "stopped");
        keys(&t, "Q");
        assert_int_equal(finish(&t), 0);
    }
}

/* The terminal goes away while the program runs: it ends by itself. */
static void closed_with(const char *const *args, const char *text)
{
    static const char *const env[] = { "TERM=xterm-256color", NULL };
    struct term t;
    start(&t, 80, 24, env, args);
    wait_for(&t, text);
    close(t.slave);
    close(t.fd);
    double end = now_s() + WAIT_S;
    while (waitpid(t.pid, &t.status, WNOHANG) == 0) {
        usleep(20000);
        if (now_s() > end) {
            kill(t.pid, SIGKILL);
            fail_msg("the program outlived its terminal");
        }
    }
    vterm_free(t.vt);
}

static void test_closed(void **state)
{
    (void)state;
    static const char *const busy[] = { "--task", "niah", "--length", "2048", NULL };
    closed_with(idle, "1 Run");
    closed_with(busy, "prefill");
}

/* Settings and key files that are damaged are said with their line; a full disk ends the session log, not the
 * session. */
static void test_files(void **state)
{
    (void)state;
    char dir[] = "/tmp/saccade-files-XXXXXX", path[200], xdg[200];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/saccade", dir);
    assert_int_equal(mkdir(path, 0700), 0);
    static const char *const text[2] = { "# settings\ntheme = purple\nlength = 777\nnonsense\n",
                                         "map K = head +1\nrun K = nosuch\n" };
    static const char *const name[2] = { "config", "keys" };
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/saccade/%s", dir, name[i]);
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        fputs(text[i], f);
        fclose(f);
    }
    snprintf(xdg, sizeof xdg, "XDG_CONFIG_HOME=%s", dir);
    const char *const env[] = { "TERM=xterm-256color", xdg, NULL };
    static const char *const args[] = { "--no-run", "--log", "/dev/full", NULL };
    struct term t;
    start(&t, 120, 40, env, args);
    wait_for(&t, "config: line 2: purple is no theme");
    wait_for(&t, "3 lines are not understood (see the log): config: line 2");
    wait_for(&t, "line 4: expected NAME = VALUE");
    wait_for(&t, "keys: line 2: nosuch is not a command");
    wait_for(&t, "777 tokens");                         /* what is understood holds */
    keys(&t, "7");
    wait_for(&t, "the session log cannot be written (No space left on device)");
    keys(&t, "1Q");
    assert_int_equal(finish(&t), 0);
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/saccade/%s", dir, name[i]);
        unlink(path);
    }
    snprintf(path, sizeof path, "%s/saccade", dir);
    rmdir(path);
    rmdir(dir);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_terms),   cmocka_unit_test(test_sizes),  cmocka_unit_test(test_ascii),
        cmocka_unit_test(test_signals), cmocka_unit_test(test_keys),   cmocka_unit_test(test_no_terminal),
        cmocka_unit_test(test_early),   cmocka_unit_test(test_closed), cmocka_unit_test(test_busy),
        cmocka_unit_test(test_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
