import pytest

from armorm.data.source import DataSource, HubName, as_source
from armorm.errors import DataError


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("hub:imdb", HubName("imdb", None, None)),
        ("hub:org/name", HubName("org/name", None, None)),
        ("hub:org/name/config", HubName("org/name", "config", None)),
        ("hub:org/name@v1", HubName("org/name", None, "v1")),
        ("hub:org/name/config@refs/pr/1", HubName("org/name", "config", "refs/pr/1")),
        ("data.jsonl", None),
    ],
)
def test_hub_names_come_apart(path, expected):
    assert DataSource(path).hub == expected


def test_a_path_becomes_a_source_and_a_source_stays(tmp_path):
    source = DataSource("a.csv", source="x")
    assert as_source(source) is source
    assert as_source(tmp_path) == DataSource(str(tmp_path))
    assert as_source("quickstart:rated.jsonl").path == "quickstart:rated.jsonl"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"path": ""}, "`path` must name a file, a folder or a hub data set; got ''"),
        ({"path": "a", "split": "x"}, "`split` is for hub data only; got 'x' for 'a'"),
        ({"path": "a", "source": " "}, "`source` must be a name or None; got an empty text"),
        (
            {"path": "a", "source": "s", "columns": {"source": "t"}},
            "`source` and `columns` must not both name a source; got 's' and 't'",
        ),
        (
            {"path": "a", "columns": {"prompts": "x"}},
            "`columns` maps no field 'prompts'; did you mean 'prompt'",
        ),
        (
            {"path": "a", "columns": {"prompt": {"a": "b"}}},
            "`columns` must map 'prompt' to one column; got a mapping",
        ),
        (
            {"path": "a", "columns": {"ratings": {}}},
            "`columns` must map 'ratings' to at least one objective; got {}",
        ),
        (
            {"path": "a", "columns": {"prompt": ""}},
            "`columns` must map 'prompt' to a column name; got ''",
        ),
        (
            {"path": "hub:a//b"},
            "`path` on the hub must be hub:owner/name, then /config and @revision; got 'hub:a//b'",
        ),
        ({"path": "hub:a@"}, "`path` on the hub must be"),
        ({"path": "hub:a/b/c/d"}, "`path` on the hub must be"),
    ],
)
def test_mistakes_are_found_when_the_source_is_built(arguments, text):
    with pytest.raises(ValueError) as caught:
        DataSource(**arguments)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("", "^`path` must name a file, a folder or a hub data set; got ''$"),
        ("hub:", "^`path` on the hub must be hub:owner/name, then .*; got 'hub:'$"),
        ("hub:a//b", "; got 'hub:a//b'$"),
    ],
)
def test_a_path_that_names_nothing_is_a_data_error(path, text):
    # A path comes from the command line, where a ValueError was a traceback.
    with pytest.raises(DataError, match=text):
        as_source(path)
