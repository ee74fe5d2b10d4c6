/* Failures as sentences, their exit codes, and the "did you mean" for mistyped names. */
#include <saccade/err.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool inside_character(char c) { return ((unsigned char)c & 0xc0) == 0x80; }

void sac_sentence(char *out, size_t cap, const char *fmt, va_list ap)
{
    static const char gap[] = " ... ";
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(out, cap, fmt, ap);
    char *whole = n >= (int)cap ? malloc((size_t)n + 1) : NULL;
    if (whole) {
        vsnprintf(whole, (size_t)n + 1, fmt, again);
        size_t head = (cap - sizeof gap) / 2, tail = cap - sizeof gap - head, from = (size_t)n - tail;
        while (head > 0 && inside_character(whole[head])) head--;
        while (inside_character(whole[from])) from++;
        snprintf(out, cap, "%.*s%s%s", (int)head, whole, gap, whole + from);
        free(whole);
    }
    va_end(again);
    for (char *p = out; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 127) *p = '?';
}

enum sac_code sac_fail(struct sac_err *err, enum sac_code code, const char *fmt, ...)
{
    if (!err || err->code != SAC_OK) return code;
    err->code = code;
    va_list ap;
    va_start(ap, fmt);
    sac_sentence(err->msg, sizeof err->msg, fmt, ap);
    va_end(ap);
    return code;
}

int sac_exit_code(enum sac_code code)
{
    switch (code) {
    case SAC_OK: return 0;
    case SAC_EARG: return 2;
    case SAC_EIO: return 1;
    case SAC_EFORMAT:
    case SAC_ENOTSUP: return 3;
    case SAC_ENOMEM: return 4;
    case SAC_ECANCEL: return 130;
    }
    return 1;
}

const char *sac_write_reason(int e)
{
    switch (e) {
    case ENOSPC:
    case EDQUOT: return "the disk is full";
    case EACCES:
    case EPERM: return "no permission to write there";
    case EROFS: return "the file system is read-only";
    case ENOENT: return "the folder does not exist";
    case ENOTDIR: return "part of the path is not a folder";
    case EISDIR: return "that is a folder";
    case EFBIG: return "the file would be larger than allowed";
    case ENAMETOOLONG: return "the name is too long";
    default: return strerror(e);
    }
}

enum { WORD_MAX = 63 };

/* Edits (insert, delete, replace) between two words; both cut at WORD_MAX. */
static int edit_distance(const char *a, const char *b)
{
    int la = (int)strnlen(a, WORD_MAX), lb = (int)strnlen(b, WORD_MAX);
    int row[WORD_MAX + 1];
    for (int j = 0; j <= lb; j++) row[j] = j;
    for (int i = 1; i <= la; i++) {
        int diag = row[0];
        row[0] = i;
        for (int j = 1; j <= lb; j++) {
            int best = diag + (a[i - 1] != b[j - 1]);
            if (row[j] + 1 < best) best = row[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            diag = row[j];
            row[j] = best;
        }
    }
    return row[lb];
}

const char *sac_nearest(const char *word, const char *const *names, int n)
{
    const char *best = NULL;
    int best_d = 0;
    size_t len = strlen(word);
    for (int i = 0; i < n; i++) {
        int d = edit_distance(word, names[i]);
        /* "snap" for "snapkv": an unfinished word is nearer than its missing letters say. */
        if (len >= 3 && !strncmp(word, names[i], len)) d = 1;
        if (!best || d < best_d) best = names[i], best_d = d;
    }
    int allowed = len < 4 ? 1 : len < 8 ? 2 : 3;
    return best && best_d <= allowed ? best : NULL;
}
