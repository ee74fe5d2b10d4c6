/* The instructions to use: the best that the machine has, or what SACCADE_CPU limits them to. */
#ifndef BASE_CPU_H
#define BASE_CPU_H

#include <saccade/err.h>

/* Fills the table of kernels; whoever computes asks first. SAC_EARG for a name that is none: a measurement that
 * took it for "the best" would be of something else. */
enum sac_code cpu_choose(struct sac_err *err);
#endif
