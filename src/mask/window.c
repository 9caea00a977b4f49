/* window.c - the run of keys that a query sees */
#include "mask/window.h"

struct dk_span
dk_window_span(const struct dk_window *window, size_t query)
{
    const int64_t position = (int64_t)query + window->offset, length = (int64_t)window->length;
    int64_t begin = 0, end = length;

    if (window->left >= 0 && position - window->left > 0)
        begin = position - window->left;
    if (window->right >= 0 && position + window->right + 1 < end)
        end = position + window->right + 1;
    if (begin > length)
        begin = length;
    if (end < begin)
        end = begin;
    return (struct dk_span){(size_t)begin, (size_t)end};
}
