/* saccade doctor: what the program sees of the machine and the terminal, to be pasted into a bug report. */
#include "args.h"
#include "cli.h"
#include "commands.h"
#include "json_out.h"

#include <base.h>
#include <saccade/model.h>

#include <langinfo.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/utsname.h>
#include <unistd.h>

static const char *env(const char *name)
{
    const char *v = getenv(name);
    return v && *v ? v : "unset";
}

/* The value after "key ... :" in a file of /proc; "" where there is none. */
static void proc_value(const char *path, const char *key, char *out, size_t cap)
{
    char line[512];
    out[0] = '\0';
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, key, strlen(key)) || !colon) continue;
        colon += 1 + strspn(colon + 1, " \t");
        colon[strcspn(colon, "\n")] = '\0';
        snprintf(out, cap, "%s", colon);
        break;
    }
    if (f) fclose(f);
}

enum { LINES_MAX = 32 };
struct report { int n; struct { char key[24], value[400]; } line[LINES_MAX]; };

static void say(struct report *r, const char *key, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static void say(struct report *r, const char *key, const char *fmt, ...)
{
    if (r->n == LINES_MAX) return;
    va_list ap;
    va_start(ap, fmt);
    snprintf(r->line[r->n].key, sizeof r->line[r->n].key, "%s", key);
    vsnprintf(r->line[r->n].value, sizeof r->line[r->n].value, fmt, ap);
    va_end(ap);
    r->n++;
}

static void machine(struct report *r)
{
    struct utsname u;
    char cpu[200], memory[64];
    if (uname(&u) == 0) say(r, "system", "%s %s %s", u.sysname, u.release, u.machine);
    proc_value("/proc/cpuinfo", "model name", cpu, sizeof cpu);
    say(r, "processor", "%s, %ld cores in use", *cpu ? cpu : "unknown", sysconf(_SC_NPROCESSORS_ONLN));
    proc_value("/proc/meminfo", "MemAvailable", memory, sizeof memory);
    double total = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE) / (1024.0 * 1024 * 1024);
    say(r, "memory", "%.1f GiB, %.1f GiB available", total, atof(memory) / (1024.0 * 1024));
}

static void bundled(struct report *r)
{
    struct sac_err err = { SAC_OK, "" };
    struct sac_model *m = NULL;
    char path[1024];
    const struct sac_model_opts mo = { .directory_only = true };
    if (!cli_model(NULL, path, sizeof path, &err) || sac_model_open(&m, path, &mo, &err) != SAC_OK) {
        say(r, "bundled model", "%s", err.msg);
        return;
    }
    const struct sac_model_info *i = sac_model_info(m);
    say(r, "kernels", "%s", i->cpu && *i->cpu ? i->cpu : "plain C");
    say(r, "bundled model", "%s, %s, hash %016llx", i->name, i->file_type, (unsigned long long)i->hash);
    say(r, "samples", "%s", path);
    sac_model_close(m);
}

static void terminal(struct report *r)
{
    struct winsize w = { 0 };
    bool tty = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 || ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 ||
        ioctl(STDIN_FILENO, TIOCGWINSZ, &w) == 0)
        say(r, "terminal", "%s, %d columns by %d lines%s", tty ? "yes" : "input or output is redirected",
            w.ws_col, w.ws_row, w.ws_col < 60 || w.ws_row < 12 ? "; the explorer needs 60 by 12" : "");
    else
        say(r, "terminal", "none: the explorer cannot start, the other commands can");
    say(r, "TERM", "%s", env("TERM"));
    say(r, "COLORTERM", "%s", env("COLORTERM"));
    say(r, "NO_COLOR", "%s", env("NO_COLOR"));
    char why[200];
    const struct ui_env e = ui_env_read();
    enum ui_tier tier = ui_tier_decide(&e, NULL, why, sizeof why);
    say(r, "colours", "%s: %s", ui_tier_name[tier], why);
    say(r, "inside", "%s%s%s", getenv("TMUX") ? "tmux " : "", getenv("STY") ? "screen " : "",
        getenv("SSH_TTY") ? "ssh" : getenv("TMUX") || getenv("STY") ? "" : "nothing");
    bool utf8 = !strcmp(nl_langinfo(CODESET), "UTF-8");
    say(r, "characters", "%s%s", nl_langinfo(CODESET),
        utf8 ? "" : "; only ASCII is drawn: set LC_ALL=C.UTF-8");
    if (utf8)
        say(r, "glyphs",
            "half blocks \u2580\u2584 shades \u2591\u2592\u2593\u2588 lines \u2500\u2502\u250c\u2518 braille "
            "\u2801\u28ff");
}

int cmd_doctor(int argc, char **argv)
{
    bool json = false;
    const struct arg_opt opts[] = {
        { "json", 0, NULL, "print JSON", ARG_FLAG, .to = &json },
        { 0 },
    };
    const struct arg_spec spec = {
        "doctor", "doctor [OPTIONS]", "Reports the machine, the build and the terminal, for a bug report.",
        { "saccade doctor", "saccade doctor > report.txt", "saccade doctor --json" }, .opts = opts,
    };
    int rc = args_parse(&spec, argc, argv);
    if (rc != ARGS_GO) return rc;

    struct report r = { 0 };
    say(&r, "saccade", "%s", SACCADE_VERSION);
    machine(&r);
    bundled(&r);
    terminal(&r);
    if (json) {
        json_t *o = json_pack("{s:s}", "schema", "saccade.doctor/1");
        for (int i = 0; i < r.n; i++)
            json_object_set_new(o, r.line[i].key, json_text(r.line[i].value, strlen(r.line[i].value)));
        json_print(stdout, o, true);
    } else {
        for (int i = 0; i < r.n; i++) printf("%-14s %s\n", r.line[i].key, r.line[i].value);
    }
    struct sac_err err = { SAC_OK, "" };
    return cli_close(stdout, "-", &err) ? 0 : cli_fail("doctor", &err);
}
