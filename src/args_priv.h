/* Between args.c, which reads the command line, and args_help.c, which shows the tables. */
#ifndef ARGS_PRIV_H
#define ARGS_PRIV_H

#include "args.h"

extern const struct arg_opt args_common_opts[];
bool args_takes_value(const struct arg_opt *o);
bool args_wants_file(const struct arg_opt *o);
void args_show_help(const struct arg_spec *spec);
void args_show_version(void);
#endif
