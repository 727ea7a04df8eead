import numpy as np
import pytest

from armorm.heads import blas
from fakes import full


def draw(seed, m, s):
    return np.random.default_rng(seed).standard_normal((m, s))


def gram(rows):
    found = blas.zeros(rows.shape[1])
    blas.add_gram(found, rows)
    return found


@pytest.mark.parametrize(("m", "s"), [(1, 3), (3, 1), (40, 7), (5, 9)])
def test_gram_equals_the_product(m, s):
    rows = draw(0, m, s)
    found = gram(rows)
    assert not np.tril(found, -1).any()
    np.testing.assert_allclose(full(found), rows.T @ rows, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(full(blas.gram_of_rows(rows)), rows @ rows.T, rtol=1e-12, atol=1e-12)


def test_sums_are_added_to_what_was_there():
    rows, vector = draw(1, 6, 4), draw(2, 1, 4)[0]
    found = gram(rows)
    blas.add_gram(found, rows)
    blas.add_outer(found, vector, -0.5)
    expected = 2 * rows.T @ rows - 0.5 * np.outer(vector, vector)
    np.testing.assert_allclose(full(found), expected, rtol=1e-12, atol=1e-12)


def test_products_with_columns_read_the_upper_triangle_alone():
    rows, columns = draw(3, 9, 5), draw(4, 5, 3)
    found = gram(rows)
    found[np.tril_indices(5, -1)] = np.nan
    np.testing.assert_allclose(blas.multiply(found, columns), rows.T @ rows @ columns, rtol=1e-12)


def test_factor_solves_and_gives_the_trace_of_the_inverse():
    rows, columns = draw(5, 20, 6), draw(6, 6, 2)
    matrix = rows.T @ rows
    factor = gram(rows)
    assert blas.factorise(factor, least=1e-9)
    solved = blas.solve_factored(factor, columns)
    np.testing.assert_allclose(solved, np.linalg.solve(matrix, columns), rtol=1e-10)
    trace = np.trace(np.linalg.inv(matrix))
    assert blas.inverse_trace(factor) == pytest.approx(trace, rel=1e-10)


def test_factor_by_hand_and_its_pivots():
    # [[4, 2], [2, 5]] = R'R with R = [[2, 1], [0, 2]]; the trace of the inverse is 9 / 16.
    matrix = np.asfortranarray([[4.0, 2.0], [0.0, 5.0]])
    assert blas.factorise(matrix, least=3.0)
    assert matrix.tolist() == [[2.0, 1.0], [0.0, 2.0]]
    assert blas.inverse_trace(matrix) == pytest.approx(9 / 16)


def test_matrices_without_a_sound_factor_are_told():
    # Rank 1; and eigenvalues that cannot be as large as claimed, as after rounding.
    assert not blas.factorise(np.asfortranarray([[1.0, 2.0], [0.0, 1.0]]), least=1e-9)
    assert not blas.factorise(np.asfortranarray([[1.0, 0.0], [0.0, 1e-12]]), least=1e-9)
    assert not blas.factorise(np.asfortranarray([[np.nan]]), least=1e-9)


def test_packed_triangle_comes_back():
    found = gram(draw(7, 9, 5))
    packed = blas.pack(found)
    assert packed.shape == (15,)
    assert packed[:3].tolist() == [found[0, 0], found[0, 1], found[1, 1]]
    again = blas.unpack(packed, 5)
    assert np.array_equal(again, found)
    assert again.flags.f_contiguous


@pytest.mark.parametrize("first", ["C", "F"])
@pytest.mark.parametrize("second", ["C", "F"])
def test_plain_products_in_either_memory_order(first, second):
    a, b = draw(8, 7, 4), draw(9, 4, 3)
    found = blas.product(np.array(a, order=first), np.array(b, order=second))
    np.testing.assert_allclose(found, a @ b, rtol=1e-12, atol=1e-12)
