/* eigen.h - eigenvalues and eigenvectors of a small symmetric matrix */
#ifndef DOTK_TEXT_EIGEN_H
#define DOTK_TEXT_EIGEN_H

#include <stddef.h>

/*
 * Replaces the symmetric matrix a (n, n) by its eigenvectors, one a row, and fills value (n),
 * largest eigenvalue first. work: n values. Backward stable: errors are about
 * n * 2^-53 * |largest eigenvalue|.
 */
void dk_eigen_symmetric(size_t n, double *a, double *value, double *work);

#endif /* DOTK_TEXT_EIGEN_H */
