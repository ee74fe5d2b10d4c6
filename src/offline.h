/* A run without a screen, to its end: what snapshot and trace record share. */
#ifndef OFFLINE_H
#define OFFLINE_H

#include "setup.h"

struct offline { struct setup setup; struct sac_job *job; struct sac_trace *trace; bool stopped; };

/* Open the model, make the prompt, run every lane with progress on stderr. Ctrl-C stops the run and keeps
 * what it has: stopped is then true and SAC_ECANCEL returned. On failure nothing is left to free. */
enum sac_code offline_run(struct offline *o, const struct setup_args *a, struct sac_err *err);
/* Looked at every 10 ms while the run goes on, in the caller's thread; false stops the run. */
struct offline_look { bool (*fn)(void *ctx, const struct sac_trace *t); void *ctx; };
/* The same, but a run that was stopped after its first layer is kept: SAC_ECANCEL with o->trace set, to be
 * freed. */
enum sac_code offline_run_keep(struct offline *o, const struct setup_args *a, const struct offline_look *look,
                               struct sac_err *err);
void offline_free(struct offline *o);

/* Refuse a path that cannot become the output, before work starts: an existing file without force, a folder
 * that is not there or not writable. "-" and NULL pass. */
bool offline_target(const char *path, bool force, struct sac_err *err);
#endif
