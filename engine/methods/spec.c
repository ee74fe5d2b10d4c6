/* SPECs: `name:key=value,...+name:...` into checked options.
 *
 * Parsing knows names, kinds and bounds, from the methods' tables alone; resolving knows the model and the
 * prompt, turns sparsity=S into budgets and asks each method whether its parameters fit together. A bare
 * number after dense_layers continues its list: `quest:dense_layers=0,1,token_budget=256`. */
#include "methods.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORD = 64, NAMES = 64 };

/* A decimal number, independent of the locale. False: not one, or something follows. */
static bool parse_number(const char *s, double *out)
{
    const char *start = s;
    double v = 0, scale = 1;
    bool neg = *s == '-', digits = false;
    if (neg || *s == '+') s++;
    for (; isdigit((unsigned char)*s); s++, digits = true) v = v * 10 + (*s - '0');
    if (*s == '.')
        for (s++; isdigit((unsigned char)*s); s++, digits = true) {
            v = v * 10 + (*s - '0');
            scale *= 10;
        }
    *out = (neg ? -v : v) / scale;
    return digits && !*s && s - start < 24;
}

static enum sac_code bad_name(struct sac_err *err, const char *what, const char *of, const char *word,
                              const char *const *names, int n)
{
    const char *near = sac_nearest(word, names, n);
    if (near) return sac_fail(err, SAC_EARG, "%sunknown %s '%s': did you mean '%s'?", of, what, word, near);
    char list[300] = "";
    for (int i = 0; i < n; i++) {
        size_t at = strlen(list);
        snprintf(list + at, sizeof list - at, "%s%s", i ? " " : "", names[i]);
    }
    return sac_fail(err, SAC_EARG, "%sunknown %s '%s': use one of %s", of, what, word, list);
}

static const struct sac_param *find_param(const struct sac_method *m, const char *name)
{
    for (int i = 0; i < m->n_params; i++)
        if (!strcmp(m->params[i].name, name)) return &m->params[i];
    return NULL;
}

static bool has_budget(const struct sac_method *m) { return m->budget != NULL; }

static enum sac_code bad_key(struct sac_err *err, const struct sac_method *m, const char *key)
{
    const char *names[NAMES];
    char of[48];
    int n = 0;
    for (int i = 0; i < m->n_params && n < NAMES - 4; i++) names[n++] = m->params[i].name;
    if (has_budget(m)) names[n++] = "sparsity";
    if (has_budget(m)) names[n++] = "preset";
    names[n++] = "dense_layers";
    names[n++] = "phase";
    snprintf(of, sizeof of, "%s: ", m->name);
    return bad_name(err, "key", of, key, names, n);
}

/* The value nearest to v that the parameter's bounds and, with the part's other options, the method's check
 * allow: its refusal says which, as "use NAME=VALUE". */
static double nearest_valid(const struct sac_part *part, const struct sac_param *p, double v)
{
    const struct sac_method *m = part->m;
    const struct sac_shape unknown = { 0 };
    struct sac_part t = *part;
    struct sac_err why;
    size_t len = strlen(p->name);
    v = fmin(fmax(p->kind == SAC_INT ? floor(v) : v, p->min), p->max);
    opts_put(m, t.opts.bytes, p->name, v);
    if (!m->check || m->check(t.opts.bytes, &unknown, 0, &why) == SAC_OK) return v;
    const char *use = strstr(why.msg, ": use ");
    double better;
    if (!use || strncmp(use += 6, p->name, len) || use[len] != '=') return v;
    return parse_number(use + len + 1, &better) ? better : v;
}

/* A choice, a switch or a number, within its bounds. */
static enum sac_code parse_value(const struct sac_part *part, const struct sac_param *p, const char *text,
                                 double *out, struct sac_err *err)
{
    const struct sac_method *m = part->m;
    static const char *const off_on[2][3] = { { "0", "false", "off" }, { "1", "true", "on" } };
    if (p->kind == SAC_CHOICE) {
        int n = 0;
        for (; p->choices[n]; n++)
            if (!strcmp(p->choices[n], text)) return *out = n, SAC_OK;
        char of[96];
        snprintf(of, sizeof of, "%s: %s: ", m->name, p->name);
        return bad_name(err, "choice", of, text, p->choices, n);
    }
    if (p->kind == SAC_BOOL) {
        for (int v = 0; v < 2; v++)
            for (int i = 0; i < 3; i++)
                if (!strcmp(off_on[v][i], text)) return *out = v, SAC_OK;
        return sac_fail(err, SAC_EARG, "%s: %s=%s: must be 0 or 1", m->name, p->name, text);
    }
    if (!parse_number(text, out))
        return sac_fail(err, SAC_EARG, "%s: %s='%s' is not a number: %s, default %g", m->name, p->name, text,
                        p->help, p->def);
    if (p->kind == SAC_INT && floor(*out) != *out)
        return sac_fail(err, SAC_EARG, "%s: %s=%s must be a whole number: use %.10g", m->name, p->name, text,
                        nearest_valid(part, p, *out));
    if (*out < p->min || *out > p->max)
        return sac_fail(err, SAC_EARG, "%s: %s=%s is %s %.10g: use %.10g", m->name, p->name, text,
                        *out < p->min ? "below the minimum" : "above the maximum",
                        *out < p->min ? p->min : p->max, nearest_valid(part, p, *out));
    return SAC_OK;
}

enum sac_code sac_part_set(struct sac_part *part, const char *param, const char *value, struct sac_err *err)
{
    const struct sac_param *p = find_param(part->m, param);
    if (!p) return bad_key(err, part->m, param);
    double v = 0;
    enum sac_code rc = parse_value(part, p, value, &v, err);
    if (!rc) opts_put(part->m, part->opts.bytes, p->name, v);
    return rc;
}

/* One layer or a range lo-hi. */
static enum sac_code add_dense_layers(struct sac_spec *spec, const char *name, const char *text,
                                      struct sac_err *err)
{
    char *end;
    long lo = strtol(text, &end, 10), hi = lo;
    bool ok = isdigit((unsigned char)*text) && (!*end || *end == '-');
    if (ok && *end) {
        ok = isdigit((unsigned char)end[1]);
        hi = strtol(end + 1, &end, 10);
        ok = ok && !*end;
    }
    if (!ok || hi < lo || hi >= 1024)
        return sac_fail(err, SAC_EARG, "%s: dense_layers=%s: list layers from 0, as 0,1 or 0-3", name, text);
    for (long l = lo; l <= hi; l++) spec->dense_layers[l / 64] |= (uint64_t)1 << (l % 64);
    return SAC_OK;
}

static enum sac_code parse_level(const struct sac_method *m, const char *key, const char *value, double *out,
                                 struct sac_err *err)
{
    const char *number = value;
    bool preset = !strcmp(key, "preset");
    if (!has_budget(m))
        return sac_fail(err, SAC_EARG, "%s: has no budget, so %s=%s does not apply", m->name, key, value);
    if (preset && !strncmp(value, "paper-", 6)) number += 6;
    bool number_at_all = parse_number(number, out);
    if (number_at_all && *out >= 0 && *out < 1) return SAC_OK;
    /* Above 1 it may be meant as a percentage. */
    double near = !number_at_all ? 0.9 : *out < 0 ? 0 : *out > 1 && *out < 100 ? *out / 100 : 0.99;
    return sac_fail(err, SAC_EARG,
                    "%s: %s=%s: the share of work left out, from 0 to below 1: use %s=%s%.10g", m->name, key,
                    value, key, preset ? "paper-" : "", near);
}

static enum sac_code parse_pair(struct sac_spec *spec, struct sac_part *part, const char *key,
                                const char *value, struct sac_err *err)
{
    static const char *const phase[] = { "both", "prefill", "decode" };
    if (!strcmp(key, "sparsity")) return parse_level(part->m, key, value, &part->sparsity, err);
    if (!strcmp(key, "preset")) return parse_level(part->m, key, value, &part->preset, err);
    if (!strcmp(key, "dense_layers")) return add_dense_layers(spec, part->m->name, value, err);
    if (!strcmp(key, "phase")) {
        for (int i = 0; i < 3; i++)
            if (!strcmp(value, phase[i])) return part->phase = (enum sac_phase)i, SAC_OK;
        return sac_fail(err, SAC_EARG, "%s: phase=%s: use both, prefill or decode", part->m->name, value);
    }
    return sac_part_set(part, key, value, err);
}

/* The next piece of *at up to one of `stops` (or the end) into word; false: too long. */
static bool next_word(const char **at, const char *stops, char *word)
{
    size_t n = strcspn(*at, stops), lead = strspn(*at, " ");
    const char *from = *at + (lead < n ? lead : n);
    size_t len = n - (size_t)(from - *at);
    while (len > 0 && from[len - 1] == ' ') len--;
    if (len >= WORD) return false;
    memcpy(word, from, len);
    word[len] = 0;
    *at += n;
    return true;
}

/* Set the options that are right before the wrong ones are looked at, so that a refusal knows them all. */
static void set_options(struct sac_part *part, const char *at)
{
    char word[WORD];
    struct sac_err ignored;
    while (*at && *at != '+') {
        at++;
        if (!next_word(&at, ",+", word)) return;
        char *eq = strchr(word, '=');
        if (eq) *eq = 0;
        const struct sac_param *p = eq ? find_param(part->m, word) : NULL;
        double v;
        if (p && !parse_value(part, p, eq + 1, &v, &ignored)) opts_put(part->m, part->opts.bytes, p->name, v);
    }
}

static enum sac_code parse_options(struct sac_spec *spec, struct sac_part *part, const char **at,
                                   struct sac_err *err)
{
    char word[WORD], key[WORD] = "", budget[WORD] = "";
    enum sac_code rc = SAC_OK;
    set_options(part, *at);
    while (!rc && **at && **at != '+') {
        (*at)++;                                   /* ':' or ',' */
        if (!next_word(at, ",+", word))
            return sac_fail(err, SAC_EARG, "%s: an option is longer than %d characters", part->m->name,
                            WORD - 1);
        char *eq = strchr(word, '=');
        if (!eq && !strcmp(key, "dense_layers")) {
            rc = add_dense_layers(spec, part->m->name, word, err);
        } else if (!eq) {
            rc = sac_fail(err, SAC_EARG, "%s: '%s' must be key=value", part->m->name, word);
        } else {
            *eq = 0;
            snprintf(key, sizeof key, "%s", word);
            rc = parse_pair(spec, part, key, eq + 1, err);
            const struct sac_param *p = find_param(part->m, key);
            if (p && p->budget) memcpy(budget, key, sizeof budget);
        }
    }
    if (!rc && *budget && !(isnan(part->sparsity) && isnan(part->preset)))
        rc = sac_fail(err, SAC_EARG, "%s: %s takes the place of %s: give one of them", part->m->name,
                      isnan(part->sparsity) ? "preset" : "sparsity", budget);
    if (!rc && !isnan(part->sparsity) && !isnan(part->preset))
        rc = sac_fail(err, SAC_EARG, "%s: give sparsity or preset, not both", part->m->name);
    return rc;
}

static bool acts(const struct sac_part *p, enum sac_phase phase)
{
    const struct sac_method *m = p->m;
    if (p->phase != SAC_PHASE_BOTH && p->phase != phase) return false;
    if (phase == SAC_PHASE_PREFILL) return m->plan != NULL;
    return m->evict || m->select || m->observe || m->drop;
}

static enum sac_code check_phases(const struct sac_spec *spec, struct sac_err *err)
{
    const struct sac_part *prefill = NULL, *evict = NULL, *step = NULL;
    for (int i = 0; i < spec->n; i++) {
        const struct sac_part *p = &spec->part[i], *other = NULL;
        bool decodes = acts(p, SAC_PHASE_DECODE), prefills = acts(p, SAC_PHASE_PREFILL);
        bool any = p->m->plan || p->m->evict || p->m->select || p->m->observe || p->m->drop;
        if (any && !decodes && !prefills)
            return sac_fail(err, SAC_EARG, "%s: phase=%s, where %s does not act: use phase=%s", p->m->name,
                            p->phase == SAC_PHASE_PREFILL ? "prefill" : "decode", p->m->name,
                            p->phase == SAC_PHASE_PREFILL ? "decode" : "prefill");
        if (prefills) other = prefill, prefill = p;
        if (!other && decodes && p->m->evict) other = evict, evict = p;
        if (!other && decodes && (p->m->select || p->m->drop)) other = step, step = p;
        if (other)
            return sac_fail(err, SAC_EARG,
                            "%s: %s and %s act in the same phase: combine a prefill method with "
                            "a decode method, or add phase=prefill or phase=decode",
                            spec->text, other->m->name, p->m->name);
    }
    return SAC_OK;
}

enum sac_code sac_spec_parse(struct sac_spec *out, const char *text, struct sac_err *err)
{
    memset(out, 0, sizeof *out);
    if (strlen(text) >= sizeof out->text)
        return sac_fail(err, SAC_EARG, "method '%.40s...' is longer than %zu characters", text,
                        sizeof out->text - 1);
    snprintf(out->text, sizeof out->text, "%s", text);

    const char *at = text;
    char word[WORD];
    do {
        if (out->n > 0) at++;                      /* '+' */
        if (out->n == SAC_SPEC_PARTS)
            return sac_fail(err, SAC_EARG, "%s: at most %d methods combine", text, SAC_SPEC_PARTS);
        if (!next_word(&at, ":+", word) || !*word)
            return sac_fail(err, SAC_EARG, "method '%s': expected name or name:key=value,...", text);
        struct sac_part *part = &out->part[out->n];
        part->m = sac_method_find(word);
        if (!part->m) {
            const char *names[NAMES];
            int n;
            const struct sac_method *const *all = sac_methods(&n);
            for (int i = 0; i < n; i++) names[i] = all[i]->name;
            return bad_name(err, "method", "", word, names, n);
        }
        part->sparsity = part->preset = (double)NAN;
        opts_defaults(part->m, part->opts.bytes);
        out->n++;
        enum sac_code rc = parse_options(out, part, &at, err);
        if (rc) return rc;
    } while (*at == '+');
    return check_phases(out, err);
}

/* Say so where what is always read leaves less out than was asked for. */
static void note_reach(struct sac_spec *spec, const struct sac_part *p, const struct sac_shape *s, int n)
{
    double want = isnan(p->sparsity) ? p->preset : p->sparsity;
    if (isnan(want) || !p->m->reach || *spec->note) return;
    double most = fmax(p->m->reach(p->opts.bytes, s, n), 0);
    if (want <= most + 0.005) return;
    snprintf(spec->note, sizeof spec->note,
             "%s: %s=%g is out of reach on %d tokens, for what it always reads: this is %.3g, the nearest",
             p->m->name, isnan(p->sparsity) ? "preset" : "sparsity", want, n, floor(most * 1000) / 1000);
}

enum sac_code sac_spec_resolve(struct sac_spec *spec, const struct sac_shape *s, int n, struct sac_err *err)
{
    for (int l = s->n_layers; l < 1024; l++)
        if (spec->dense_layers[l / 64] >> (l % 64) & 1)
            return sac_fail(err, SAC_EARG, "%s: dense_layers has layer %d, the model has layers 0 to %d",
                            spec->text, l, s->n_layers - 1);
    enum sac_code rc = SAC_OK;
    *spec->note = 0;
    for (int i = 0; !rc && i < spec->n; i++) {
        struct sac_part *p = &spec->part[i];
        if (n > 0 && !isnan(p->sparsity)) rc = p->m->budget(p->opts.bytes, s, n, p->sparsity, err);
        if (!rc && n > 0 && !isnan(p->preset)) rc = preset_apply(p, n, err);
        bool settled = n > 0 || (isnan(p->sparsity) && isnan(p->preset));
        if (!rc && settled && p->m->check) rc = p->m->check(p->opts.bytes, s, n, err);
        if (!rc && n > 0) note_reach(spec, p, s, n);
    }
    return rc;
}

void sac_spec_params(const struct sac_spec *spec, char *buf, size_t cap)
{
    size_t at = 0;
    buf[0] = 0;
    for (int i = 0; i < spec->n; i++) {
        const struct sac_part *p = &spec->part[i];
        for (int j = 0; j < p->m->n_params && at < cap; j++) {
            const struct sac_param *q = &p->m->params[j];
            double v = sac_part_get(p, q->name);
            const char *sep = at ? j ? " " : " + " : "";
            if (q->kind == SAC_CHOICE)
                at += (size_t)snprintf(buf + at, cap - at, "%s%s=%s", sep, q->name, q->choices[(int)v]);
            else if (q->budget && v < q->min)    /* settled per head from the data */
                at += (size_t)snprintf(buf + at, cap - at, "%s%s=auto", sep, q->name);
            else
                at += (size_t)snprintf(buf + at, cap - at, "%s%s=%.10g", sep, q->name, v);
        }
    }
}

bool sac_spec_layer_dense(const struct sac_spec *spec, int layer)
{
    return layer < 1024 && (spec->dense_layers[layer / 64] >> (layer % 64) & 1);
}

const struct sac_part *sac_spec_prefill(const struct sac_spec *spec)
{
    for (int i = 0; i < spec->n; i++)
        if (acts(&spec->part[i], SAC_PHASE_PREFILL)) return &spec->part[i];
    return NULL;
}

const struct sac_part *sac_spec_evict(const struct sac_spec *spec)
{
    for (int i = 0; i < spec->n; i++)
        if (acts(&spec->part[i], SAC_PHASE_DECODE) && spec->part[i].m->evict) return &spec->part[i];
    return NULL;
}

bool sac_spec_wants_mass(const struct sac_spec *spec)
{
    const struct sac_part *part = sac_spec_evict(spec);
    return part && part->m->wants_mass;
}

const struct sac_part *sac_spec_decode(const struct sac_spec *spec)
{
    for (int i = 0; i < spec->n; i++) {
        const struct sac_method *m = spec->part[i].m;
        if (acts(&spec->part[i], SAC_PHASE_DECODE) && (m->select || m->observe || m->drop))
            return &spec->part[i];
    }
    return NULL;
}
