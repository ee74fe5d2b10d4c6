/* Results as JSON: see json_out.h. */
#include "json_out.h"

#include <saccade/method.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

json_t *json_number(double v)
{
    return isfinite(v) ? json_real(v) : json_null();
}

/* Length of the valid UTF-8 sequence at s, 0 when there is none (overlong forms and surrogates are invalid).
 */
static int utf8_len(const unsigned char *s, size_t left)
{
    int n = s[0] < 0x80 ? 1 : s[0] >= 0xc2 && s[0] < 0xe0 ? 2 : (s[0] & 0xf0) == 0xe0 ? 3 :
            s[0] >= 0xf0 && s[0] < 0xf5 ? 4 : 0;
    if (!n || (size_t)n > left) return 0;
    for (int i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f)) return 0;
    if ((s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f)) return 0;
    return n;
}

json_t *json_text(const char *text, size_t len)
{
    char *out = malloc(3 * len + 1);
    if (!out) return json_null();
    size_t at = 0;
    for (size_t i = 0; i < len;) {
        int n = utf8_len((const unsigned char *)text + i, len - i);
        if (n) {
            memcpy(out + at, text + i, (size_t)n);
            at += (size_t)n;
            i += (size_t)n;
        } else {
            memcpy(out + at, "\xef\xbf\xbd", 3);
            at += 3;
            i++;
        }
    }
    json_t *v = json_stringn(out, at);
    free(out);
    return v ? v : json_null();
}

json_t *json_density(const struct sac_density *d)
{
    return json_pack("{s:o, s:o, s:o, s:o}", "pattern", json_number(d->pattern), "kernel",
                     json_number(d->kernel), "work", json_number(d->work), "read", json_number(d->read));
}

json_t *json_recall(const struct sac_recall *r)
{
    const struct { const char *name; double v;
    } field[] = {
        { "mass", r->mass },
        { "set", r->set },
        { "oracle", r->oracle },
        { "regret", r->oracle - r->mass },
        { "sink_adjusted", r->sink_adjusted },
        { "evidence", r->evidence },
        { "mass_min", r->mass_min },
        { "mass_p5", r->mass_p5 },
        { "top10", r->set10 },
        { "top64", r->set64 },
        { "evidence_mass", r->evidence_mass },
        { "evidence_mass_kept", r->evidence_mass_kept },
        { "mass_vs_dense", r->mass_vs_dense },
        { "entropy_bits", r->entropy },
        { "need90", r->need90 },
        { "need95", r->need95 },
        { "need99", r->need99 },
        { "sink_share", r->sink },
        { "local_share", r->local },
        { "kept_keys", r->kept },
        { "out_err", r->out_err },
    };
    json_t *o = json_object();
    for (size_t i = 0; i < sizeof field / sizeof *field; i++)
        json_object_set_new(o, field[i].name, json_number(field[i].v));
    json_object_set_new(o, "rows", json_integer(r->n_rows));
    return o;
}

json_t *json_params(const char *spec, const char *params)
{
    struct sac_spec parsed;
    struct sac_err err = { SAC_OK, "" };
    bool known = sac_spec_parse(&parsed, spec, &err) == SAC_OK;
    json_t *o = json_object();
    int part = 0;
    for (const char *p = params; *p;) {
        size_t len = strcspn(p, " ");
        char word[96], key[96];
        snprintf(word, sizeof word, "%.*s", (int)len, p);
        p += len;
        while (*p == ' ') p++;
        if (!strcmp(word, "+")) part++;
        char *eq = strchr(word, '=');
        if (!eq) continue;
        *eq = '\0';
        const char *method = known && part < parsed.n ? parsed.part[part].m->name : "next";
        snprintf(key, sizeof key, "%s", word);
        if (json_object_get(o, key)) snprintf(key, sizeof key, "%.40s.%.50s", method, word);
        char *end;
        double v = strtod(eq + 1, &end);
        bool number = end != eq + 1 && !*end && isfinite(v);
        bool whole = number && fabs(v) < 1e15 && v == floor(v);
        json_object_set_new(o, key,
                            whole    ? json_integer((json_int_t)v)
                            : number ? json_real(v)
                                     : json_string(eq + 1));
    }
    return o;
}

static json_t *lane_tokens(const struct sac_trace *t, int lane)
{
    json_t *list = json_array();
    int n = sac_trace_answer(t, lane, NULL, 0);
    int *id = malloc((size_t)(n ? n : 1) * sizeof *id);
    if (id) {
        int have = sac_trace_answer(t, lane, id, n);
        for (int i = 0; i < n && i < have; i++) json_array_append_new(list, json_integer(id[i]));
    }
    free(id);
    return list;
}

json_t *json_lane(const struct sac_trace *t, int lane)
{
    static const char *const state[] = {
        "queued", "prefill", "decode", "measure", "done", "stopped", "failed"
    };
    struct sac_lane l;
    sac_trace_lane(t, lane, &l);
    json_t *o = json_object();
    json_object_set_new(o, "method", json_string(l.spec));
    json_object_set_new(o, "name", json_string(l.method));
    json_object_set_new(o, "params", json_params(l.spec, l.params));
    if (*l.note) json_object_set_new(o, "note", json_string(l.note));
    json_object_set_new(o, "state", json_string(state[l.state]));
    if (l.error[0]) json_object_set_new(o, "error", json_text(l.error, strlen(l.error)));
    json_object_set_new(o, "answer", json_text(l.answer, strlen(l.answer)));
    json_object_set_new(o, "tokens", lane_tokens(t, lane));
    json_object_set_new(o, "stop", json_string(l.stop));
    json_object_set_new(o, "score", json_number(l.score));
    json_object_set_new(o, "parsed", isfinite(l.score) ? json_boolean(l.parsed) : json_null());
    json_object_set_new(o, "density", json_pack("{s:o, s:o}", "prefill", json_density(&l.prefill), "decode",
                                                json_density(&l.decode)));
    json_t *recall = json_recall(&l.recall);
    json_object_set_new(recall, "prefill", json_recall(&l.recall_prefill));
    json_object_set_new(recall, "decode", json_recall(&l.recall_decode));
    json_object_set_new(o, "recall", recall);
    json_object_set_new(o, "kl", json_number(l.kl));
    json_object_set_new(o, "top1", json_number(l.top1));
    json_object_set_new(o, "kl_free", json_number(l.kl_free));
    json_object_set_new(o, "top1_free", json_number(l.top1_free));
    json_object_set_new(o, "nll_gold", json_number(l.nll_gold));
    json_object_set_new(o, "first_diff", l.first_diff < 0 ? json_null() : json_integer(l.first_diff));
    json_object_set_new(o, "timing", json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:b}",
        "prefill_s", json_number(l.prefill_s), "decode_s", json_number(l.decode_s),
        "select_s", json_number(l.select_s), "attend_s", json_number(l.attend_s),
        "prefill_tok_s", json_number(l.prefill_tok_s), "decode_tok_s", json_number(l.decode_tok_s),
        "shared_prefill", l.shared_prefill));
    json_object_set_new(o, "memory", json_pack("{s:I, s:I, s:I}", "kv_bytes", (json_int_t)l.kv_bytes,
        "kv_full_bytes", (json_int_t)l.kv_full_bytes, "peak_bytes", (json_int_t)l.peak_bytes));
    return o;
}

bool json_print(FILE *f, json_t *v, bool indent)
{
    int rc = json_dumpf(v, f, (indent ? JSON_INDENT(2) : JSON_COMPACT) | JSON_REAL_PRECISION(9));
    fputc('\n', f);
    json_decref(v);
    return rc == 0 && !ferror(f);
}
