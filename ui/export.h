/* Figures and data files of what a view shows.
 *
 * A shot is a view of a trace and how it is drawn. ui_export_figure turns it into a PNG, SVG or PDF whose
 * recipe says everything needed to make it again; ui_shot_parse reads a recipe back. The explorer's `p` key,
 * `saccade snapshot` and `saccade open` all go through here, so they agree. ui_export_data writes the numbers
 * behind the same window. All functions compute in the calling thread and look at cancel. */
#ifndef UI_EXPORT_H
#define UI_EXPORT_H

#include "app.h"
#include "figure.h"

enum ui_shot_view { UI_SHOT_MAP, UI_SHOT_HEADS, UI_SHOT_COMPARE, UI_SHOT_TEXT, UI_SHOT_PAGES, UI_SHOT_RECALL,
                    UI_SHOT_TIMELINE, UI_N_SHOTS };
extern const char *const ui_sinks_arg[4];                 /* likewise */
extern const char *const ui_shot_name[UI_N_SHOTS + 1];    /* NULL-terminated */

struct ui_shot {
    enum ui_shot_view view;
    struct ui_where at;          /* lanes a and b, layer, head, window of its screen, scale, pooling ... */
    enum ui_map map;
    bool dark, no_caption;
    double px_scale;             /* pixels per unit; 0: 2 */
    double width;                /* units; 0: what the figure likes */
    int cells;                   /* matrix cells across a pane, at most; 0: 256 */
    int layer_lo, layer_hi, head_lo, head_hi;   /* heads: the part of the grid; all when hi is 0 */
    /* How the run was made, where the trace does not say; zero: defaults. */
    char model_file[96];         /* name without folder; "" the bundled model */
    char task_file[96];          /* the file a task was made from, without folder; "" none */
    bool no_special;             /* special tokens in a prompt were plain text */
    int kv, style;               /* enum sac_kv_type, enum sac_style */
    bool strict;
    double temperature, top_p;   /* temperature 0: greedy */
};
/* The view as the explorer starts with: lane a, dense as b, all of the map, log scale, max pooling. */
void ui_shot_default(struct ui_shot *s, const struct sac_trace *t, enum ui_shot_view view, int lane);
/* The shot of the explorer's current screen; false when that screen is not a figure (Run, Tasks). */
bool ui_shot_of(struct ui_shot *s, const struct ui_state *st);
/* Clamp layer, head, row, window and lanes to what the trace holds; SAC_EARG with a sentence for a lane,
 * layer, head or window that is not there. */
enum sac_code ui_shot_check(struct ui_shot *s, const struct sac_trace *t, struct sac_err *err);

/* ---- drawing ---- */
enum sac_code ui_export_draw(struct sac_trace *t, const struct ui_shot *s, enum figure_format f,
                             struct figure_bytes *out, const atomic_bool *cancel, struct sac_err *err);
/* Draw and write; an existing file is refused without force. path NULL: a numbered name in the current folder
 * ("saccade-niah0-quest-L3H2.png"). written gets the name. */
enum sac_code ui_export_figure(struct sac_trace *t, const struct ui_shot *s, const char *path, bool force,
                               char *written, size_t cap, const atomic_bool *cancel, struct sac_err *err);
/* The whole screen from its cells; theme decides what default colours are. ui_screen_write makes the recipe.
 */
enum sac_code ui_export_screen(const struct cell_buf *b, bool dark, const struct figure_meta *meta,
                               const char *path, bool force, char *written, size_t cap, struct sac_err *err);
/* The same as text; with colours when path ends in .ans or .asc. "-" is standard output. */
enum sac_code ui_write_cells(const struct cell_buf *b, const char *path, bool force, struct sac_err *err);
/* The numbers of the window: .csv, .json or .npy by the ending of path ("-" with a format: csv). */
enum sac_code ui_export_data(struct sac_trace *t, const struct ui_shot *s, const char *path, bool force,
                             const atomic_bool *cancel, struct sac_err *err);
/* Ends in .csv, .json or .npy? */
bool ui_is_data_path(const char *path);
/* Frames base-0001.png ... or one animated PNG (path ends in .png and `animate`) over decode steps lo .. hi.
 */
enum sac_code ui_export_steps(struct sac_trace *t, const struct ui_shot *s, int lo, int hi, const char *path,
                              bool animate, int ms, bool force, const atomic_bool *cancel,
                              struct sac_err *err);

/* A name without folder or ending: "saccade-niah0-quest-L3H2". */
void ui_shot_basename(const struct sac_trace *t, const struct ui_shot *s, char *buf, size_t cap);

/* ---- recipes ---- */
/* Names of enum ui_overlay and enum ui_diff in recipes and options, NULL-terminated. */
extern const char *const ui_overlay_name[UI_N_OVERLAYS + 1], *const ui_diff_name[UI_N_DIFFS + 1];
extern const char *const ui_kv_arg[], *const ui_style_arg[]; /* of enum sac_kv_type and enum sac_style */
enum { UI_RECIPE_METHODS = 32 };
struct ui_recipe {
    struct ui_shot shot;
    char model[96], file_type[48], arch[24];
    uint64_t model_hash, prompt_hash;
    int n_prompt, threads, max_tokens;
    char task[160]; int length, sample; uint64_t seed;     /* task "": the prompt is in `prompt` */
    int n_methods; char method[UI_RECIPE_METHODS][200];    /* lanes 1, 2, ...; dense is lane 0 */
    char *prompt;                                          /* rendered, malloc'ed, or NULL */
    /* A whole screen: the recipe itself, malloc'ed; NULL for a figure of a view. */
    char *screen;
    char *script;
    double pace;
    bool is_script, no_run, raw; /* commands, malloc'ed; as replay runs them */
    char open_with[16], recording[96], color[8], unfinished[80];
    int cols, lines, samples;
    char title[200];
};
/* JSON of a shot, malloc'ed; the same shot gives the same bytes. */
char *ui_recipe_json(const struct sac_trace *t, const struct ui_shot *s);
/* The command line that makes the picture, without -o. */
void ui_recipe_command(const struct sac_trace *t, const struct ui_shot *s, char *buf, size_t cap);
/* Read the recipe inside a PNG, SVG or PDF figure. SAC_EFORMAT with a sentence when there is none. */
enum sac_code ui_recipe_read(struct ui_recipe *out, const char *path, struct sac_err *err);
enum sac_code ui_recipe_parse(struct ui_recipe *out, const char *json, const char *what, struct sac_err *err);
void ui_recipe_free(struct ui_recipe *r);
#endif
