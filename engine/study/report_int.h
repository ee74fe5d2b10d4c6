/* Between the files of a report: results as plain rows, and cells made of them. */
#ifndef STUDY_REPORT_INT_H
#define STUDY_REPORT_INT_H

#include <saccade/method.h>
#include <saccade/report.h>
#include <stdint.h>

struct names {
    char **v;
    int n, cap;
};
int names_add(struct names *l, const char *s); /* index of s, added when new; -1 out of memory */

struct report_model {
    char *name;
    struct sac_shape shape;
    double n_params;
};

/* One result. Texts are indices into the report's lists. */
struct row {
    int model, style, task, length, method, base, sample;
    uint64_t seed;
    double level; /* sparsity asked for, NAN: budgets given otherwise */
    double score;
    bool parsed;
    double prefill, decode, read; /* densities: cells of prefill, keys and elements of decode */
    double mass, evidence, kl, nll;
    const struct row *dense; /* the same sample, or NULL */
};

/* One method on one task at one length. */
struct cell {
    int model, style, task, length, method, base;
    double level;    /* sparsity as asked for, or measured where budgets were given otherwise */
    double measured; /* what the run really left out, in the phase the method acts in */
    bool dense;
    int at, n, n_pairs; /* rows at .. at + n - 1; those with a dense partner */
    double mean, lo, hi, sd, parsed;  /* sd: of the scores, n - 1 */
    double dense_mean, diff;          /* over the pairs */
    double p_welch, p_paired, p_sign; /* NAN: fewer than two pairs */
    double prefill, decode, read, mass, evidence, kl, nll;
};

struct sac_report {
    struct names model_key, style, task, method, base;
    struct report_model *model; /* [n_models], by model_key */
    int n_models;
    bool *in_prefill, *in_decode; /* by method: where it acts */
    struct row *row;
    int n_rows, cap_rows;
    struct cell *cell;
    int n_cells;
};

extern const double REPORT_ALPHA;  /* level of the tests */
extern const double REPORT_CAN_DO; /* a dense score below this says the model cannot do the task */

bool report_cells(struct sac_report *r); /* sort rows, make cells */
const char *report_model_name(const struct sac_report *r, int model);
/* Same model, style, length (and task, base): the cells of one group follow one another. */
bool cell_same(const struct cell *a, const struct cell *b, bool task, bool base);

/* tables */
bool table_init(struct sac_table *t, const char *name, const char *title, const char *const *col, int n);
bool table_row(struct sac_table *t); /* a new row of dashes */
bool table_text(struct sac_table *t, int col, const char *text);
void table_num(struct sac_table *t, int col, double v, int decimals);
bool table_note(struct sac_table *t, const char *note);

bool table_scores(const struct sac_report *r, struct sac_table *t);
bool table_tolerable(const struct sac_report *r, struct sac_table *t);
bool table_length(const struct sac_report *r, struct sac_table *t);
bool table_cost(const struct sac_report *r, struct sac_table *t);
bool table_law(const struct sac_report *r, struct sac_table *t);

/* What a point can cost: the study's first version counts operations in both phases (isoFLOPS), its later
 * ones elements read in decode, at batch 64 (isoCost). */
enum cost_axis { PREFILL_FLOPS, DECODE_FLOPS, DECODE_READS, COST_AXES };

/* Mean over the tasks of one model, style, length and method level; one point of a frontier. */
struct point {
    int model, style, length, base, method;
    double level, measured, score, prefill, decode, read;
    double prefill_flops, decode_flops; /* of the prompt; of one step */
    double reads1, reads64;             /* elements read by a decode step at batch 1, 64 */
    bool in_prefill, in_decode, dense;
    bool best[COST_AXES]; /* on the frontier */
    int n_tasks;
};
/* malloc'ed; NULL when out of memory or *n is 0. Only tasks that every point of a length has are averaged. */
double point_cost(const struct point *p, enum cost_axis a);
bool point_acts(const struct point *p, enum cost_axis a);
struct point *report_points(const struct sac_report *r, int *n);
#endif
