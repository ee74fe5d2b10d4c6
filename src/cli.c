/* Shared by the commands: see cli.h. */
#include "cli.h"
#include "args.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef __APPLE__
#include <mach-o/dyld.h>
#endif

int cli_fail(const char *command, const struct sac_err *err)
{
    cli_progress_end();
    fprintf(stderr, "saccade%s%s: %s\n", *command ? " " : "", command, err->msg);
    return cli_signal_exit(sac_exit_code(err->code));
}

/* ---- bundled files ---- */

/* The path of the running program; "" where the system does not say. */
static void own_path(char *exe, size_t cap)
{
#ifdef __APPLE__
    uint32_t n = (uint32_t)cap;
    if (_NSGetExecutablePath(exe, &n)) *exe = '\0';
#else
    ssize_t n = readlink("/proc/self/exe", exe, cap - 1);
    exe[n > 0 ? n : 0] = '\0';
#endif
}

bool cli_sample(const char *name, char *out, size_t cap)
{
    char exe[1024];
    own_path(exe, sizeof exe);
    char *slash = strrchr(exe, '/');
    if (slash) *slash = '\0';

    /* Installed: bin/saccade beside share/saccade. Built: build/release/saccade below the tree. */
    const char *env = getenv("SACCADE_SAMPLES");
    if (env && *env) {
        snprintf(out, cap, "%s/%s", env, name);
        return access(out, R_OK) == 0;
    }
    static const char *const below[] = { "/../share/saccade/samples", "/../../samples", "/samples" };
    for (size_t i = 0; slash && i < sizeof below / sizeof *below; i++) {
        snprintf(out, cap, "%s%s/%s", exe, below[i], name);
        if (access(out, R_OK)) continue;
        char *real = realpath(out, NULL);   /* without the dots, for messages and results */
        if (real && strlen(real) < cap) strcpy(out, real);
        free(real);
        return true;
    }
    snprintf(out, cap, "%s/%s", SACCADE_SAMPLES_DIR, name);
    return access(out, R_OK) == 0;
}

bool cli_model(const char *given, char *out, size_t cap, struct sac_err *err)
{
    if (given) {
        snprintf(out, cap, "%s", given);
        return true;
    }
    if (cli_sample("models/saccade-sample-q8_0.gguf", out, cap)) return true;
    sac_fail(err, SAC_EFORMAT,
             "%s: the bundled model is not there; name a model file, or set SACCADE_SAMPLES to the "
             "samples folder",
             out);
    return false;
}

/* ---- input and output ---- */

static char *read_all(FILE *f, size_t *len)
{
    size_t n = 0, cap = 1 << 16;
    char *buf = malloc(cap);
    while (buf) {
        n += fread(buf + n, 1, cap - n - 1, f);
        if (n < cap - 1) break;
        char *more = cap > (size_t)1 << 31 ? NULL : realloc(buf, cap * 2);
        if (!more) free(buf);
        buf = more;
        cap *= 2;
    }
    if (!buf) return NULL;
    buf[n] = '\0';
    *len = n;
    return buf;
}

char *cli_read(const char *path, size_t *len, struct sac_err *err)
{
    bool in = !strcmp(path, "-");
    FILE *f = in ? stdin : fopen(path, "rb");
    if (!f) {
        sac_fail(err, SAC_EFORMAT, "%s: cannot read: %s", path, strerror(errno));
        return NULL;
    }
    char *text = read_all(f, len);
    if (!text) {
        sac_fail(err, SAC_ENOMEM, "%s: larger than memory allows", path);
    } else if (ferror(f)) {
        sac_fail(err, SAC_EFORMAT, "%s: cannot read: %s", path, strerror(errno));
        free(text);
        text = NULL;
    }
    if (!in) fclose(f);
    return text;
}

char *cli_text(const char *arg, size_t *len, struct sac_err *err)
{
    if (!strcmp(arg, "-")) return cli_read("-", len, err);
    if (!strcmp(arg, "@")) {
        sac_fail(err, SAC_EARG, "@: the name of a file must follow, such as @question.txt");
        return NULL;
    }
    if (arg[0] == '@') return cli_read(arg + 1, len, err);
    *len = strlen(arg);
    char *text = strdup(arg);
    if (!text) sac_fail(err, SAC_ENOMEM, "out of memory");
    return text;
}

/* The file that is being written under another name; commands write one at a time. */
static struct {
    FILE *f;
    char tmp[4200];
} pending;

FILE *cli_create(const char *path, struct sac_err *err)
{
    struct stat st;
    if (!strcmp(path, "-")) return stdout;
    bool whole = !pending.f && (lstat(path, &st) != 0 || S_ISREG(st.st_mode)) &&
                 snprintf(pending.tmp, sizeof pending.tmp, "%s.part-%ld", path, (long)getpid()) <
                     (int)sizeof pending.tmp;
    FILE *f = fopen(whole ? pending.tmp : path, "wb"); /* devices, pipes and links are written in place */
    if (!f)
        sac_fail(err, SAC_EIO, "%s: cannot be written: %s", path, sac_write_reason(errno));
    else if (whole)
        pending.f = f;
    return f;
}

bool cli_reader_left(void)
{
    struct pollfd out = { .fd = STDOUT_FILENO, .events = POLLOUT };
    return poll(&out, 1, 0) == 1 && out.revents & POLLERR;
}

/* The library drops what it could not write, and with the error of an earlier flush its reason: one more attempt has
 * it again. What was written is torn anyway. */
const char *cli_write_reason(FILE *f, int e)
{
    if (!e) {
        clearerr(f);
        errno = 0;
        if (fputc('\n', f) == EOF || fflush(f) != 0) e = errno;
    }
    return e ? sac_write_reason(e) : "a part of it was lost";
}

bool cli_close(FILE *f, const char *path, struct sac_err *err)
{
    bool whole = f == pending.f, bad = ferror(f) != 0;
    errno = 0;
    if (fflush(f) != 0 || (whole && fsync(fileno(f)) != 0)) bad = true;
    const char *reason = bad ? cli_write_reason(f, errno) : NULL;
    int why = 0;
    if (f != stdout && fclose(f) != 0 && !bad) bad = true, why = errno;
    if (whole && !bad && rename(pending.tmp, path) != 0) bad = true, why = errno;
    if (whole && bad) unlink(pending.tmp);
    if (f == stdout && bad && cli_reader_left()) bad = false;
    if (whole) pending.f = NULL;
    if (bad)
        sac_fail(err, SAC_EIO, "%s: cannot be written: %s", f == stdout ? "standard output" : path,
                 reason ? reason : sac_write_reason(why ? why : EIO));
    return !bad;
}

void cli_drop(FILE *f)
{
    if (!f || f == stdout) return;
    fclose(f);
    if (f == pending.f) unlink(pending.tmp), pending.f = NULL;
}

bool cli_writable(const char *path, struct sac_err *err)
{
    if (!path || !strcmp(path, "-")) return true;
    bool there = access(path, F_OK) == 0;
    FILE *f = fopen(path, "ab");
    if (!f) {
        sac_fail(err, SAC_EIO, "%s: cannot be written: %s", path, sac_write_reason(errno));
        return false;
    }
    fclose(f);
    if (!there) unlink(path);
    return true;
}

/* ---- signals ---- */

atomic_bool cli_stop;
static volatile sig_atomic_t last_signal;

static void on_signal(int sig)
{
    if (last_signal) _exit(128 + sig);
    last_signal = sig;
    atomic_store(&cli_stop, true);
}

void cli_catch_signals(void)
{
    struct sigaction sa;
    memset(&sa, 0, sizeof sa);
    sa.sa_handler = on_signal;
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
}

int cli_signal_exit(int otherwise)
{
    return last_signal ? 128 + last_signal : otherwise;
}

/* ---- progress ---- */

static int progress_width;

void cli_progress(const char *fmt, ...)
{
    if (args_common.quiet || !isatty(STDERR_FILENO)) return;
    char line[200];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    fprintf(stderr, "\r%s%*s", line, progress_width > n ? progress_width - n : 0, "");
    fflush(stderr);
    progress_width = n;
}

void cli_progress_end(void)
{
    if (progress_width) fprintf(stderr, "\r%*s\r", progress_width, "");
    progress_width = 0;
}
