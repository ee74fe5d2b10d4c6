/* Which colours and characters a terminal is given, and why: pure decisions, shown by doctor. */
#include "base.h"

#include <langinfo.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct ui_env ui_env_read(void)
{
    return (struct ui_env){ getenv("TERM"), getenv("COLORTERM"), getenv("NO_COLOR"),
                            !strcmp(nl_langinfo(CODESET), "UTF-8"), getenv("SSH_TTY") != NULL };
}

enum ui_tier ui_tier_decide(const struct ui_env *e, const char *wish, char *why, size_t cap)
{
    const char *term = e->term ? e->term : "";
    size_t n = strlen(term);
    if (wish && *wish && strcmp(wish, "auto") != 0) {
        snprintf(why, cap, "--color=%s", wish);
        if (!strcmp(wish, "never") || !strcmp(wish, "mono")) return UI_TIER_MONO;
        if (!strcmp(wish, "16")) return UI_TIER_16;
        if (!strcmp(wish, "256")) return UI_TIER_256;
        return UI_TIER_RGB;
    }
    if (e->no_color && *e->no_color) return snprintf(why, cap, "NO_COLOR is set"), UI_TIER_MONO;
    if (e->colorterm && (!strcmp(e->colorterm, "truecolor") || !strcmp(e->colorterm, "24bit")))
        return snprintf(why, cap, "COLORTERM=%s", e->colorterm), UI_TIER_RGB;
    if (n > 7 && !strcmp(term + n - 7, "-direct")) return snprintf(why, cap, "TERM=%s", term), UI_TIER_RGB;
    snprintf(why, cap, "TERM=%s", *term ? term : "(unset)");
    return UI_TIER_256;      /* lowered to what the terminfo entry says */
}
