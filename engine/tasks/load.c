/* Samples from files: SQuAD JSON, QuALITY and TOEFL as JSON lines, and user samples. The only file of this
 * folder that knows Jansson. */
#include "tasks/qa.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool grow(void **p, int n, size_t size)
{
    if (n & (n - 1)) return true; /* room is doubled at powers of two */
    void *q = realloc(*p, (n ? 2 * (size_t)n : 1) * size);
    if (!q) return false;
    *p = q;
    return true;
}

/* Index of a document; equal texts are one document. Contexts of a file mostly come one after another. */
static int add_doc(struct qa_set *q, const char *text)
{
    uint64_t h = 0xCBF29CE484222325u;
    for (const char *p = text; *p; p++) h = (h ^ (unsigned char)*p) * 0x100000001B3u;
    for (int i = q->n_docs - 1; i >= 0; i--)
        if (q->hash[i] == h && !strcmp(q->doc[i], text)) return i;
    if (!grow((void **)&q->doc, q->n_docs, sizeof *q->doc)) return -1;
    if (!grow((void **)&q->hash, q->n_docs, sizeof *q->hash)) return -1;
    char *copy = strdup(text);
    if (!copy) return -1;
    q->hash[q->n_docs] = h;
    q->doc[q->n_docs] = copy;
    return q->n_docs++;
}

static bool add_item(struct qa_set *q, int doc, const char *question, const struct tbuf *answers)
{
    if (doc < 0 || answers->oom) return false;
    for (int i = q->n_items - 1; i >= 0 && q->item[i].doc == doc; i--)
        if (!strcasecmp(q->item[i].question, question)) return true;
    if (!grow((void **)&q->item, q->n_items, sizeof *q->item)) return false;
    struct qa_item it = { .doc = doc, .question = strdup(question), .answer = malloc(answers->n + 1) };
    if (it.answer) memcpy(it.answer, answers->p, answers->n);
    for (size_t i = 0; i < answers->n; i++) it.n_answers += !answers->p[i];
    q->item[q->n_items++] = it;
    return it.question && it.answer;
}

void qa_free(struct qa_set *q)
{
    for (int i = 0; i < q->n_docs; i++) free(q->doc[i]);
    for (int i = 0; i < q->n_items; i++) {
        free(q->item[i].question);
        free(q->item[i].answer);
    }
    free(q->doc);
    free(q->hash);
    free(q->item);
    *q = (struct qa_set){ 0 };
}

/* SQuAD counts code points; the text counts bytes. */
static void place_answer(struct qa_item *it, const char *doc, json_int_t start)
{
    const char *p = doc;
    for (json_int_t i = 0; *p && i < start; i++) do
            p++;
        while (((unsigned char)*p & 0xC0) == 0x80);
    size_t n = strlen(it->answer);
    if (strncmp(p, it->answer, n)) p = strstr(doc, it->answer);
    if (!p || !n) return;
    it->lo = (size_t)(p - doc);
    it->hi = it->lo + n;
}

static bool squad_paragraph(struct qa_set *q, const json_t *par)
{
    const char *context = json_string_value(json_object_get(par, "context"));
    if (!context) return true;
    int doc = add_doc(q, context);
    size_t i, k;
    json_t *qa, *ans;
    json_array_foreach(json_object_get(par, "qas"), i, qa)
    {
        const char *question = json_string_value(json_object_get(qa, "question"));
        const json_t *answers = json_object_get(qa, "answers");
        if (!question || json_is_true(json_object_get(qa, "is_impossible")) || !json_array_size(answers))
            continue;
        struct tbuf all = { 0 };
        json_array_foreach(answers, k, ans)
        {
            const char *text = json_string_value(json_object_get(ans, "text"));
            if (text && *text) tb_add(&all, text, strlen(text) + 1);
        }
        int before = q->n_items;
        bool ok = !all.n || add_item(q, doc, question, &all);
        tb_free(&all);
        if (!ok) return false;
        if (q->n_items > before)
            place_answer(&q->item[before], q->doc[doc],
                         json_integer_value(json_object_get(json_array_get(answers, 0), "answer_start")));
    }
    return doc >= 0;
}

/* One line: {"context", "questions": [...], "answer": [...]} or {"article", "questions": [{...}]}. */
static bool choice_line(struct qa_set *q, const json_t *o, bool *known)
{
    const char *context = json_string_value(json_object_get(o, "context"));
    if (!context) context = json_string_value(json_object_get(o, "article"));
    const json_t *questions = json_object_get(o, "questions"), *answers = json_object_get(o, "answer");
    *known = context && json_is_array(questions);
    if (!*known) return true;
    int doc = add_doc(q, context);
    size_t i, k;
    json_t *one, *opt;
    json_array_foreach(questions, i, one)
    {
        struct tbuf text = { 0 }, gold = { 0 };
        if (json_is_string(one)) {
            const char *s = json_string_value(one), *a = json_string_value(json_array_get(answers, i));
            tb_str(&text, strncmp(s, "Question: ", 10) ? s : s + 10);
            if (a) tb_add(&gold, a, strlen(a) + 1);
        } else {
            const char *s = json_string_value(json_object_get(one, "question"));
            json_int_t label = json_integer_value(json_object_get(one, "gold_label"));
            tb_str(&text, s ? s : "");
            json_array_foreach(json_object_get(one, "options"), k, opt) tb_fmt(
                &text, "\n%c. %s", (char)('A' + (int)k), json_is_string(opt) ? json_string_value(opt) : "");
            size_t offered = json_array_size(json_object_get(one, "options"));
            if (s && label >= 1 && label <= 26 && (size_t)label <= offered) {
                tb_fmt(&gold, "%c", (char)('A' + (int)label - 1));
                tb_add(&gold, "", 1);
            }
        }
        bool ok = !gold.n || text.oom || add_item(q, doc, text.p, &gold);
        ok = ok && !text.oom && !gold.oom;
        tb_free(&text);
        tb_free(&gold);
        if (!ok) return false;
    }
    return doc >= 0;
}

static enum sac_code json_broken(const char *path, int line, const json_error_t *e, struct sac_err *err)
{
    return sac_fail(err, SAC_EFORMAT, "%s: line %d is not JSON: %s", path, line > 0 ? line : e->line,
                    e->text);
}

/* Calls fn for each non-blank line that holds a JSON object. fn returns false to stop. */
static enum sac_code each_line(char *text, const char *path, bool (*fn)(void *ctx, json_t *o, int line),
                               void *ctx, struct sac_err *err)
{
    int line = 1;
    for (char *p = text; p; line++) {
        char *end = strchr(p, '\n');
        if (end) *end = '\0';
        if (p[strspn(p, " \t\r")]) {
            json_error_t e;
            json_t *o = json_loads(p, 0, &e);
            if (!o) return json_broken(path, line, &e, err);
            bool more = fn(ctx, o, line);
            json_decref(o);
            if (!more) break;
        }
        p = end ? end + 1 : NULL;
    }
    return SAC_OK;
}

struct choice_ctx {
    struct qa_set *q;
    int bad_line;
    bool oom;
};

static bool on_choice(void *ctx, json_t *o, int line)
{
    struct choice_ctx *c = ctx;
    bool known;
    c->oom = !choice_line(c->q, o, &known);
    if (!known) c->bad_line = line;
    return known && !c->oom;
}

enum sac_code qa_load(struct qa_set *out, const char *path, struct sac_err *err)
{
    char *text;
    size_t len;
    enum sac_code rc = task_read_file(path, &text, &len, err);
    if (rc) return rc;
    *out = (struct qa_set){ 0 };
    struct choice_ctx c = { .q = out };
    json_error_t e;
    json_t *all = json_loads(text, 0, &e);
    const json_t *data = json_object_get(all, "data");
    if (json_is_array(data)) {
        size_t i, k;
        json_t *article, *par;
        json_array_foreach(data, i, article)
            json_array_foreach(json_object_get(article, "paragraphs"), k, par) if (!c.oom)
                c.oom = !squad_paragraph(out, par);
    } else {
        rc = each_line(text, path, on_choice, &c, err);
    }
    json_decref(all);
    free(text);
    if (!rc && c.oom) rc = sac_fail(err, SAC_ENOMEM, "%s: out of memory", path);
    if (!rc && c.bad_line)
        rc = sac_fail(err, SAC_EFORMAT,
                      "%s: line %d has no `context` with `questions`, and the file no SQuAD `data`", path,
                      c.bad_line);
    if (!rc && !out->n_items)
        rc = sac_fail(err, SAC_EFORMAT, "%s: holds no question that has an answer", path);
    if (rc) qa_free(out);
    return rc;
}

/* ---- user samples ---- */

struct user_ctx {
    struct draft *d;
    const char *path;
    int index, n;
    enum sac_code rc;
    struct sac_err *err;
};

static int metric_named(const char *name, const char *gold)
{
    static const struct {
        const char *name;
        enum metric m;
    } known[] = {
        { "fraction", METRIC_FRACTION }, { "exact match", METRIC_EXACT },
        { "exact", METRIC_EXACT },       { "F1", METRIC_F1 },
        { "letters", METRIC_LETTERS },   { "contains", METRIC_CONTAINS },
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcasecmp(known[i].name, name)) return (int)known[i].m;
    if (!strcasecmp("iou", name)) return (int)(strchr(gold, '\n') ? METRIC_IOU_LINES : METRIC_IOU_WORDS);
    return -1;
}

static bool on_user(void *ctx, json_t *o, int line)
{
    struct user_ctx *u = ctx;
    struct draft *d = u->d;
    if (u->n++ != u->index) return true;
    const char *prompt = json_string_value(json_object_get(o, "prompt"));
    const char *metric = json_string_value(json_object_get(o, "metric"));
    const json_t *gold = json_object_get(o, "gold");
    const char *first = json_string_value(json_is_array(gold) ? json_array_get(gold, 0) : gold);
    if (!prompt || !*prompt || !first) {
        u->rc = sac_fail(u->err, SAC_EFORMAT, "%s: line %d needs `prompt` and `gold` as text", u->path, line);
        return false;
    }
    tb_str(&d->context, prompt);
    tb_str(&d->gold, first);
    d->whole = true;
    size_t i;
    json_t *one;
    if (json_is_array(gold))
        json_array_foreach(gold, i, one) if (i && json_is_string(one))
            tb_add(&d->alt, json_string_value(one), json_string_length(one) + 1);
    d->metric = metric_named(metric ? metric : "exact match", first);
    if (d->metric < 0)
        u->rc = sac_fail(
            u->err, SAC_EFORMAT,
            "%s: line %d: no metric '%s'; there are fraction, IoU, exact match, F1, letters, contains",
            u->path, line, metric);
    json_array_foreach(json_object_get(o, "evidence"), i,
                       one) if (!u->rc && json_is_string(one) &&
                                !draft_mark_text(d, 0, json_string_value(one), (int)i)) u->rc =
        sac_fail(u->err, SAC_EFORMAT, "%s: line %d: evidence '%.60s' does not stand in the prompt", u->path,
                 line, json_string_value(one));
    return false;
}

enum sac_code user_load(struct draft *d, const char *path, int index, struct sac_err *err)
{
    char *text;
    size_t len;
    enum sac_code rc = task_read_file(path, &text, &len, err);
    if (rc) return rc;
    struct user_ctx u = { .d = d, .path = path, .index = index, .err = err };
    rc = each_line(text, path, on_user, &u, err);
    free(text);
    if (rc || u.rc) return rc ? rc : u.rc;
    if (!d->context.n)
        return sac_fail(err, SAC_EARG, "%s: holds %d samples, so sample %d does not exist", path, u.n, index);
    return SAC_OK;
}
