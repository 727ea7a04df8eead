"""The first records of every published set as it is today; run by hand, with a network."""

import pytest

from armorm.data import DataSource, Drops, read_pairs, read_rated
from armorm.data.sources import convert_set, published_set, published_sets, published_source

pytestmark = pytest.mark.network


@pytest.mark.parametrize("name", published_sets())
def test_the_columns_are_still_those_of_the_converter(name, tmp_path):
    one, made = published_set(name), tmp_path / "made.parquet"
    source = published_source(one)
    convert_set(one, output=made, source=source, limit=200, drops=Drops())
    rows = [DataSource(str(made))]
    if one.kind == "rated":
        assert read_rated(rows, {name: one.scales}, drops=Drops())
    else:
        assert read_pairs(rows, drops=Drops())
