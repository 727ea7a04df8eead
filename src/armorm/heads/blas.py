"""Symmetric linear algebra in place, on the upper triangle of column-major float64 matrices.

The strict lower triangle is neither read nor written, and stays 0 where it was 0. Knows
nothing of rows or ratings. SciPy's BLAS is called directly because NumPy and torch either
copy their operands or need twice the work, and for plain products too: NumPy, torch and
SciPy each bring threads of their own, which wait for their next call by spinning.
"""
# ruff: noqa: F722  (jaxtyping writes axes as strings)
# SciPy gives no types for these routines.
# pyright: reportUnknownVariableType=false, reportAttributeAccessIssue=false

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.linalg.blas import ddot, dgemm, dsymm, dsyr, dsyrk
from scipy.linalg.lapack import dpotrf, dpotrs, dtpttr, dtrtri, dtrttp

Matrix = Float[np.ndarray, "s s"]


def zeros(size: int) -> Matrix:
    """Give a matrix of zeros."""
    return np.zeros((size, size), order="F")


def add_gram(matrix: Matrix, rows: Float[np.ndarray, "m s"]) -> None:
    """Add rows' rows to the matrix, in place: half the work of a product."""
    # The transpose of a row-major array is column-major, as BLAS wants it: nothing is copied.
    done = dsyrk(1.0, rows.T, beta=1.0, c=matrix, overwrite_c=1)
    assert done is matrix  # a copy would mean that the sum is lost


def gram_of_rows(rows: Float[np.ndarray, "s d"]) -> Matrix:
    """Return the products of rows with each other, rows rows'."""
    return np.asarray(dsyrk(1.0, rows.T, c=zeros(len(rows)), trans=1, overwrite_c=1))


def add_outer(matrix: Matrix, vector: Float[np.ndarray, " s"], scale: float) -> None:
    """Add scale * vector vector' to the matrix, in place."""
    done = dsyr(scale, vector, a=matrix, overwrite_a=1)
    assert done is matrix


def product(
    first: Float[np.ndarray, "m s"], second: Float[np.ndarray, "s c"]
) -> Float[np.ndarray, "m c"]:
    """Return the product of two plain matrices in either memory order, copying neither."""
    turned = [not matrix.flags.f_contiguous for matrix in (first, second)]
    a, b = (m.T if flag else m for m, flag in zip((first, second), turned, strict=True))
    return np.asarray(dgemm(1.0, a, b, trans_a=turned[0], trans_b=turned[1]))


def multiply(matrix: Matrix, columns: Float[np.ndarray, "s c"]) -> Float[np.ndarray, "s c"]:
    """Return the symmetric matrix times some columns."""
    return np.asarray(dsymm(1.0, matrix, np.asfortranarray(columns)))


def factorise(matrix: Matrix, *, least: float) -> bool:
    """Overwrite a matrix M by its Cholesky factor R, M = R'R.

    Args:
        matrix: Shape (s, s). What is in it after a failure is of no use.
        least: Known lower bound of the eigenvalues of M, above 0.

    Returns:
        False where there is no such factor, or where rounding has taken a pivot below half
        the bound: every pivot is at least the smallest eigenvalue.
    """
    done, info = dpotrf(matrix, lower=0, clean=0, overwrite_a=1)
    assert done is matrix
    pivots = matrix.diagonal()
    return info == 0 and bool((pivots * pivots).min() >= least / 2)


def solve_factored(factor: Matrix, columns: Float[np.ndarray, "s c"]) -> Float[np.ndarray, "s c"]:
    """Solve R'R x = column for each column."""
    return np.asarray(dpotrs(factor, np.asfortranarray(columns), lower=0)[0])


def inverse_trace(factor: Matrix) -> float:
    """Trace of (R'R)^-1, the sum of squares of R^-1; the factor is overwritten."""
    done, info = dtrtri(factor, lower=0, overwrite_c=1)
    assert done is factor
    assert info == 0  # the pivots are positive
    flat = factor.ravel(order="K")
    return float(ddot(flat, flat))


def pack(matrix: Matrix) -> Float[np.ndarray, " s*(s+1)//2"]:
    """Return the upper triangle, column after column."""
    return np.asarray(dtrttp(matrix, uplo="U")[0])


def unpack(packed: Float[np.ndarray, " e"], size: int) -> Matrix:
    """Return the matrix of a packed upper triangle."""
    return np.asfortranarray(np.triu(dtpttr(size, packed, uplo="U")[0]))
