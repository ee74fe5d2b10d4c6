/* A run without a screen; see offline.h. */
#include "offline.h"
#include "cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static void show_progress(const struct sac_trace *t)
{
    int n = sac_trace_n_lanes(t), done = 0;
    struct sac_lane l, now = { 0 };
    struct sac_trace_info ti;
    sac_trace_info(t, &ti);
    for (int i = 0; i < n; i++) {
        sac_trace_lane(t, i, &l);
        if (l.state >= SAC_LANE_DONE) done++;
        else if (l.state != SAC_LANE_QUEUED && !now.spec[0]) now = l;
    }
    if (now.state == SAC_LANE_PREFILL)
        cli_progress("%d/%d %.60s  prefill: layer %d of %d", done + 1, n, now.spec, now.prefill_layer,
                     ti.shape.n_layers);
    else if (now.state == SAC_LANE_DECODE)
        cli_progress("%d/%d %.60s  token %d of at most %d", done + 1, n, now.spec, now.n_steps,
                     now.max_steps);
    else cli_progress("%d/%d done, measuring", done, n);
}

/* The first lane that failed speaks for the run. */
static enum sac_code lane_failure(const struct sac_trace *t, struct sac_err *err)
{
    struct sac_lane l;
    for (int i = 0; i < sac_trace_n_lanes(t); i++) {
        sac_trace_lane(t, i, &l);
        if (l.state == SAC_LANE_FAILED) return sac_fail(err, SAC_EIO, "%s: %.300s", l.spec, l.error);
    }
    return SAC_OK;
}

/* Anything to keep of a run that was stopped? */
static bool has_rows(const struct sac_trace *t)
{
    for (int i = 0; i < sac_trace_n_lanes(t); i++)
        if (sac_trace_n_rows(t, i, 0) > 0) return true;
    return false;
}

static enum sac_code run(struct offline *o, const struct setup_args *a, bool keep,
                         const struct offline_look *look, struct sac_err *err)
{
    const struct timespec nap = { 0, 10 * 1000 * 1000 };
    memset(o, 0, sizeof *o);
    cli_catch_signals();
    enum sac_code rc = setup_open(&o->setup, a, err);
    if (rc) return rc;
    rc = setup_job(&o->job, &o->setup, a, err);
    if (!rc) rc = sac_job_start(o->job, err);
    while (!rc && sac_job_running(o->job)) {
        bool on = !look || look->fn(look->ctx, sac_job_trace(o->job));
        if ((!on || atomic_load(&cli_stop)) && !o->stopped) {
            sac_job_stop(o->job);
            o->stopped = true;
        }
        show_progress(sac_job_trace(o->job));
        nanosleep(&nap, NULL);
    }
    cli_progress_end();
    if (!rc) rc = lane_failure(sac_job_trace(o->job), err);
    if (!rc && o->stopped) {
        rc = sac_fail(err, SAC_ECANCEL, "stopped before the run was complete; nothing was written");
        if (keep && has_rows(sac_job_trace(o->job))) {
            o->trace = sac_job_trace(o->job);
            return rc;
        }
    }
    if (rc) {
        offline_free(o);
        return rc;
    }
    o->trace = sac_job_trace(o->job);
    return SAC_OK;
}

enum sac_code offline_run(struct offline *o, const struct setup_args *a, struct sac_err *err)
{
    return run(o, a, false, NULL, err);
}

enum sac_code offline_run_keep(struct offline *o, const struct setup_args *a, const struct offline_look *look,
                               struct sac_err *err)
{
    return run(o, a, true, look, err);
}

void offline_free(struct offline *o)
{
    sac_job_free(o->job);
    o->job = NULL;
    setup_close(&o->setup);
    memset(&o->setup, 0, sizeof o->setup);
}

bool offline_target(const char *path, bool force, struct sac_err *err)
{
    struct stat st;
    char dir[4096];
    if (!path || !strcmp(path, "-")) return true;
    if (stat(path, &st) == 0) {
        if (S_ISDIR(st.st_mode)) sac_fail(err, SAC_EIO, "%s: that is a folder; give a file name", path);
        else if (!force) sac_fail(err, SAC_EIO, "%s: exists already; --force replaces it", path);
        else return true;
        return false;
    }
    const char *slash = strrchr(path, '/');
    snprintf(dir, sizeof dir, "%.*s", slash ? (int)(slash - path + 1) : 1, slash ? path : ".");
    if (access(dir, W_OK | X_OK) == 0) return true;
    sac_fail(err, SAC_EIO, "%s: cannot be written: %s", path, sac_write_reason(errno));
    return false;
}
