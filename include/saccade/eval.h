/* Results of a study: a file of JSON lines that survives being killed.
 *
 * A study is a grid of tasks x lengths x samples x methods. Every finished lane is one line; lines are
 * appended whole and synced before the next sample starts. Opening a file again cuts a torn last line off and
 * learns which lines exist, so that a study goes on where it ended: nothing is lost, nothing is done twice.
 */
#ifndef SAC_EVAL_H
#define SAC_EVAL_H

#include <saccade/err.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- the grid ---- */

struct sac_grid {
    const char *const *task; /* SPECs */
    const int *length;
    int n_tasks, n_lengths;
    int first, n_samples; /* samples first .. first + n_samples - 1 */
    int shard, n_shards;  /* this part: 1 .. n_shards; 1 of 1 is everything */
};
struct sac_unit {
    const char *task;
    int length, sample;
};

/* Units of this shard in order of work: tasks, then lengths, then samples; neighbouring units go to different
 * shards, so that shards take about the same time. */
int sac_grid_units(const struct sac_grid *g);
struct sac_unit sac_grid_unit(const struct sac_grid *g, int i);

/* ---- the file ---- */

/* What makes a line the same line: a study never holds two with equal keys. */
struct sac_result_key {
    const char *model; /* name and hash */
    const char *task, *style, *method;
    int length, sample;
    uint64_t seed;
    const char *variant; /* settings that change results and are not the usual ones, or NULL */
};

struct sac_results;
/* Open to append, creating the file. Another process that has it open is refused; a torn last line is cut
 * off; a damaged line before it is an error that names the line. */
enum sac_code sac_results_open(struct sac_results **out, const char *path, struct sac_err *err);
void sac_results_close(struct sac_results *r); /* accepts NULL */
bool sac_results_has(const struct sac_results *r, const struct sac_result_key *key);
/* Queue a line (without its newline; JSON in one line that carries its key). A key that exists is ignored. */
enum sac_code sac_results_add(struct sac_results *r, const struct sac_result_key *key, const char *line,
                              struct sac_err *err);
/* Write what is queued and sync it to the disk. */
enum sac_code sac_results_sync(struct sac_results *r, struct sac_err *err);
int sac_results_count(const struct sac_results *r);  /* lines in the file and in the queue */
size_t sac_results_cut(const struct sac_results *r); /* bytes of a torn line that opening removed */

/* Append the lines of other files (shards; plain, or packed by zstd) that `path` does not have. *n_new, *n_same:
 * lines taken, lines it had. */
enum sac_code sac_results_merge(const char *path, const char *const *file, int n, int *n_new, int *n_same,
                                struct sac_err *err);
#endif
