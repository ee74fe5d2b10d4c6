/* Settings by name: for the config file, :set, completion and help. The table is in config.c. */
#ifndef UI_CONFIG_H
#define UI_CONFIG_H
#include "base.h"
#endif
