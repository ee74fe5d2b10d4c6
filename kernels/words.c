/* Scalar twin of products of long rows of floats as 16-bit integers (see k_words in kernels.h). */
#include "twins.h"

#include <math.h>

enum { LONGEST = 46330, LARGEST = 32767 };

float words_row_c(const float *x, int n, int16_t *q)
{
    double most = 0, top = 0;
    for (int b = 0; b < n; b += K_WORD_PART) {
        double sum = 0;
        for (int i = b; i < b + K_WORD_PART; i++) {
            sum += (double)x[i] * (double)x[i];
            top = fmax(top, fabs((double)x[i]));
        }
        most = fmax(most, sum);
    }
    double scale = fmax(sqrt(most) / LONGEST, top / LARGEST), inv = scale > 0 ? 1 / scale : 0;
    for (int i = 0; i < n; i++) q[i] = (int16_t)lrint((double)x[i] * inv);
    return (float)scale;
}

void words_pack_c(const int16_t *q, int n, int16_t *dst)
{
    for (int r = 0; r < K_PANEL; r++)
        for (int i = 0; i < n; i++)
            dst[(i / 2 * K_PANEL + r) * 2 + i % 2] = q[(size_t)r * (size_t)n + (size_t)i];
}

void tile_words_c(const int16_t *w, const float *ws, int panels, int n, const int16_t *x, const float *xs,
                  int rows, float *y, size_t ldy)
{
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < panels * K_PANEL; c++) {
            const int16_t *panel = w + (size_t)(c / K_PANEL * K_PANEL) * (size_t)n;
            const int16_t *xr = x + (size_t)r * (size_t)n;
            int64_t sum = 0;
            for (int i = 0; i < n; i++) sum += xr[i] * panel[(i / 2 * K_PANEL + c % K_PANEL) * 2 + i % 2];
            y[(size_t)r * ldy + (size_t)c] = (float)sum * (xs[r] * ws[c]);
        }
}
