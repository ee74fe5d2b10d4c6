/* Tokens as labels. A tokenizer may cut a letter into bytes, and a byte by itself is nothing to read: the
 * token where a letter begins shows it whole, a token that holds no more than later bytes of one shows "·"
 * and these bytes in hexadecimal. */
#include "vdata.h"

#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

enum { MOST = 192, AROUND = 4 }; /* bytes of a token shown; of a letter */

static bool continues(char c) { return ((unsigned char)c & 0xC0) == 0x80; }

/* Bytes of the letter that begins with c, 0: none does. */
static int letter_bytes(char c)
{
    unsigned char b = (unsigned char)c;
    return b < 0x80 ? 1 : b < 0xc2 ? 0 : b < 0xe0 ? 2 : b < 0xf0 ? 3 : b < 0xf5 ? 4 : 0;
}

/* Does a whole letter stand at s, of n bytes? */
static int letter_at(const char *s, int n)
{
    int len = letter_bytes(*s);
    if (len == 0 || len > n) return 0;
    for (int i = 1; i < len; i++)
        if (!continues(s[i])) return 0;
    return len;
}

/* The bytes around a token: up to AROUND - 1 of the ones before, the token from *own on (*n bytes), and up to
 * AROUND - 1 of the ones after. Returns all. */
static int window(const struct sac_trace *t, int lane, int pos, char *buf, int *own, int *n)
{
    char one[MOST];
    int before = 0, all;
    char head[AROUND];
    for (int i = pos - 1; i >= 0 && i >= pos - AROUND && before < AROUND - 1; i--) {
        int len = sac_trace_token_bytes(t, lane, i, one, MOST);
        for (int k = len - 1; k >= 0 && before < AROUND - 1; k--) head[before++] = one[k];
    }
    for (int i = 0; i < before; i++) buf[i] = head[before - 1 - i];
    *own = before;
    *n = sac_trace_token_bytes(t, lane, pos, buf + before, MOST);
    all = before + *n;
    for (int i = pos + 1; i <= pos + AROUND && all < before + *n + AROUND - 1; i++) {
        int len = sac_trace_token_bytes(t, lane, i, one, MOST);
        for (int k = 0; k < len && all < before + *n + AROUND - 1; k++) buf[all++] = one[k];
    }
    return all;
}

int ui_token_letters(const struct sac_trace *t, int lane, int pos, char *buf, int cap, bool *rest)
{
    char all[MOST + 2 * AROUND];
    int lo, n, len = window(t, lane, pos, all, &lo, &n), hi = lo + n, lead = lo - 1;
    *rest = false;
    if (!n) return 0;
    /* Bytes at the start that end a letter begun before. */
    int from = lo, to = lo;
    while (lead >= 0 && continues(all[lead])) lead--;
    if (continues(all[lo]) && lead >= 0) {
        int letter = letter_at(all + lead, len - lead);
        if (lead + letter > lo) from = lead + letter;
    }
    *rest = from >= hi || (n == 3 && !memcmp(all + lo, "\xEF\xBF\xBD", 3));
    if (*rest)
        from = lo, to = hi;
    else
        for (to = from; to < hi;) {
            int letter = letter_at(all + to, len - to);
            to += letter ? letter : 1;
        }
    if (to - from > cap) to = from + cap;
    memcpy(buf, all + from, (size_t)(to - from));
    return to - from;
}

/* A mark without its letter stands on a dotted circle: alone it would join whatever is before it. */
static bool is_mark(const char *s, int n)
{
    utf8proc_int32_t c;
    if (utf8proc_iterate((const utf8proc_uint8_t *)s, n, &c) < 1) return false;
    utf8proc_category_t k = utf8proc_category(c);
    return k == UTF8PROC_CATEGORY_MN || k == UTF8PROC_CATEGORY_MC || k == UTF8PROC_CATEGORY_ME;
}

bool ui_token_name(const struct sac_trace *t, int lane, int pos, char *buf, size_t cap)
{
    char raw[MOST];
    bool rest;
    int n = ui_token_letters(t, lane, pos, raw, MOST, &rest);
    if (cap == 0) return false;
    if (!rest) {
        int at = n > 0 && cap > 4 && is_mark(raw, n) ? sprintf(buf, "\u25cc") : 0;
        buf[at + ui_text_visible(raw, n, buf + at, (int)cap - at - 1)] = 0;
        return false;
    }
    size_t at = (size_t)snprintf(buf, cap, "\u00b7");
    for (int i = 0; i < n && n < 3 && at < cap; i++) /* a recording may not have the bytes */
        at += (size_t)snprintf(buf + at, cap - at, "%s%02X", i ? " " : "", (unsigned char)raw[i]);
    return true;
}
