/* The inside of an open model: mapping, settings, weights, tokenizer, threads. */
#ifndef MODEL_MODEL_INT_H
#define MODEL_MODEL_INT_H

#include "base/pool.h"
#include "kernels.h"
#include "model/family.h"
#include "model/hparams.h"
#include "text/tokenizer.h"

#include <saccade/arena.h>
#include <saccade/model.h>

#include <pthread.h>

struct chat_format;

struct sac_model {
    struct sac_model_info info;
    struct sac_model_opts opts;
    struct hparams hp;
    struct weights w;              /* empty where only the directory was asked for */
    struct sac_pool *pool;         /* NULL then too */
    pthread_mutex_t turn;          /* held by a job for a lane: scratch of the pool is one lane's at a time */
    pthread_mutex_t spare_lock;
    struct { void *mem; size_t bytes; } spare; /* of keys and values of the last session that ended */
    struct tokenizer *tok;         /* NULL: the files hold none */
    const struct chat_format *chat;
    const char *chat_system;       /* system turn the template adds when none is given, or NULL */
    struct model_files files;      /* the mappings that weights point into */
    struct config config;
    struct k_mat *mat;             /* every matrix of w, for preparing and releasing */
    int n_mat;
    struct sac_arena arena;
};

/* bind.c: fills m->w (and what the weights say of m->hp) from the tensors; checks every shape. */
enum sac_code bind_weights(struct sac_model *m, struct sac_err *err);
enum sac_code model_no_text(const struct sac_model *m, struct sac_err *err);
/* session.c: gives back what a later session would have taken up. */
void model_drop_spare(struct sac_model *m);
/* chat.c: recognises the template. text NULL: none, the vocabulary decides. */
void chat_recognise(struct sac_model *m, const char *text, size_t len);
/* forecast.c: refuses what cannot fit, before weights are prepared. */
enum sac_code model_fits(const struct sac_model *m, struct sac_err *err);
#endif
