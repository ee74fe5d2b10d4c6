/* The view worker: one thread that computes what views asked for through ui_request, and a cache of results.
 */
#ifndef UI_WORK_H
#define UI_WORK_H

#include "app.h"

struct ui_work *ui_work_new(void (*wake)(void *ctx), void *ctx);
void ui_work_free(struct ui_work *w);        /* cancels, waits; accepts NULL */
/* A new frame begins: results that arrived are taken over, what the last frames did not ask for is dropped.
 */
void ui_work_frame(struct ui_work *w, double now);
/* Nothing is queued, running or waiting to be taken over. */
bool ui_work_idle(struct ui_work *w);
/* Wait until the worker has done what is queued, at most `s` seconds. False: time ran out. */
bool ui_work_wait(struct ui_work *w, double s);
#endif
