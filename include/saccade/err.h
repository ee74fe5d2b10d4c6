/* One failure, ready to be shown to a person.
 *
 * Files, arguments and memory can fail; such functions return a code and leave a sentence that names the
 * object, what was found, what was expected and, if there is one, the way out. The engine never prints
 * and never exits. A broken promise between functions is an assert, not an error. */
#ifndef SAC_ERR_H
#define SAC_ERR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

enum sac_code {
    SAC_OK,
    SAC_EARG,     /* a wrong flag, name or value */
    SAC_EIO,      /* the system refused: a write, a lock, a read half way */
    SAC_EFORMAT,  /* a file that should be read is missing, damaged or foreign */
    SAC_ENOTSUP,  /* a sound file that this program cannot run */
    SAC_ENOMEM,   /* does not fit */
    SAC_ECANCEL,  /* the user stopped it; results so far are kept */
};

struct sac_err {
    enum sac_code code;
    char msg[400];
};

/* Record a failure and return its code, so a caller can `return sac_fail(...)`. The first report is
 * kept: later ones on the same object are nearly always its consequences. err may be NULL. */
enum sac_code sac_fail(struct sac_err *err, enum sac_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Text as one line that fits: what is too long loses its middle, as the beginning says what it is about and the end
 * what is wrong with it. Control characters, of a file's name or an option, would act on the terminal: they become
 * '?'. */
void sac_sentence(char *out, size_t cap, const char *fmt, va_list ap) __attribute__((format(printf, 3, 0)));

/* The exit code the program ends with for a failure (0 done, 1 run-time, 2 usage, 3 file, 4 memory,
 * 130 interrupted). */
int sac_exit_code(enum sac_code code);

/* Why something could not be written, from its errno, in words that end a sentence. */
const char *sac_write_reason(int e);

/* The name among n that is nearest to `word` by edit distance, or NULL when none is near enough to be
 * what was meant. */
const char *sac_nearest(const char *word, const char *const *names, int n);
#endif
