/* What the commands share besides options: errors as exit codes, the bundled files, prompts from text, file
 * or stdin, output files, and Ctrl-C as a flag that work looks at. */
#ifndef CLI_H
#define CLI_H

#include <saccade/err.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* Print "saccade COMMAND: message" on stderr; returns the exit code of err->code. */
int cli_fail(const char *command, const struct sac_err *err);

/* A file below samples/ ("models/NAME"): looked for in $SACCADE_SAMPLES, in the installed data folder, beside
 * the program and in the source tree it was built from. False when there is none; out then names the last
 * place. */
bool cli_sample(const char *name, char *out, size_t cap);
/* The model to use: `given`, or the bundled one when it is NULL. False, with a sentence, when there is none.
 */
bool cli_model(const char *given, char *out, size_t cap, struct sac_err *err);

/* A text given as TEXT, @FILE or - (stdin). malloc'ed and terminated; NULL with a sentence. */
char *cli_text(const char *arg, size_t *len, struct sac_err *err);
/* All of a file, or of stdin for "-". */
char *cli_read(const char *path, size_t *len, struct sac_err *err);

/* Open a file to write, "-" for stdout. An existing file is replaced when it is closed: until then, and for
 * good where it cannot be written whole, it stays as it was. NULL with a sentence. */
FILE *cli_create(const char *path, struct sac_err *err);
/* Flush and close (stdout stays open); false with a sentence when the disk was full. */
bool cli_close(FILE *f, const char *path, struct sac_err *err);
/* Why f could not be written, in words that end a sentence. e: the errno, 0 where an earlier write failed. */
const char *cli_write_reason(FILE *f, int e);
/* The reader of standard output has gone: it has seen enough, which is no failure. */
bool cli_reader_left(void);
void cli_drop(FILE *f);        /* close and leave nothing; accepts NULL and stdout */
/* Can this path be written? Asked before long work starts, so that it is not lost. */
bool cli_writable(const char *path, struct sac_err *err);

/* Set by SIGINT and SIGTERM once cli_catch_signals was called: work stops and keeps what it has. A second
 * signal ends the program at once. cli_signal_exit gives 130 or 143, or `otherwise` when there was no signal.
 */
extern atomic_bool cli_stop;
void cli_catch_signals(void);
int cli_signal_exit(int otherwise);

/* A line of progress on stderr, rewritten in place; only when stderr is a terminal and not --quiet. */
void cli_progress(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void cli_progress_end(void);
#endif
