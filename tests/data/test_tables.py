import os
import subprocess
import sys
from logging import ERROR, WARNING

import pytest

from armorm.data import DataSource, read_conversations, read_pairs, read_rated
from armorm.data.tables import _quiet
from armorm.errors import DataError, MissingDependency
from armorm.types import Message, Scale

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

PROMPT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]
SCALES = {"s": {"x": Scale(1, 5), "y": Scale(0, 1)}}


def write(path, rows):
    pq.write_table(pa.Table.from_pylist(rows), path)
    return str(path)


def test_parquet_structs_read_like_json(tmp_path, drops):
    rows = [
        {"id": "a", "prompt": PROMPT, "response": "r", "source": "s", "ratings": {"x": 3, "y": 1}},
        {"id": "b", "prompt": PROMPT, "response": "q", "source": "s", "ratings": {"x": 5}},
    ]
    first, second = read_rated(
        [DataSource(write(tmp_path / "a.parquet", rows))], SCALES, drops=drops
    )
    assert first.prompt == (Message("system", "Be brief."), Message("user", "hi"))
    assert (first.ratings, second.ratings) == ({"x": 3, "y": 1}, {"x": 5})


def test_parquet_rows_are_located_by_row_over_batches(tmp_path, drops):
    rows = [{"prompt": "p", "response": "r", "ratings.x": 3} for _ in range(3000)]
    rows[2500]["ratings.x"] = 7
    path = write(tmp_path / "a.parquet", rows)
    text = r"a\.parquet: row 2501: rating 'x' must be from 1 to 5; got 7"
    with pytest.raises(DataError, match=text):
        read_rated([DataSource(path, source="s")], SCALES, drops=drops)
    kept = read_rated([DataSource(path, source="s")], SCALES, bad_rows="drop", drops=drops)
    assert len(kept) == 2999
    assert kept[2500].id == "a:2502"
    assert drops.as_dict() == {path: {"rating outside its scale": 1}}


def test_a_flat_table_with_messages_reads_by_its_columns(tmp_path, drops):
    """The layout in which the ratings of the published model are stored."""
    messages = [*PROMPT, {"role": "assistant", "content": "hello"}]
    rows = [
        {"messages": messages, "dataset": "s", "s-x": 0.5, "t-z": None},
        {"messages": messages, "dataset": "t", "s-x": None, "t-z": 0.25},
    ]
    columns = {"source": "dataset", "ratings": {"x": "s-x", "z": "t-z"}}
    source = DataSource(write(tmp_path / "a.parquet", rows), columns=columns)
    scales = {"s": {"x": Scale(0, 1)}, "t": {"z": Scale(0, 1)}}
    first, second = read_rated([source], scales, drops=drops)
    assert (first.response, first.ratings, second.ratings) == ("hello", {"x": 0.5}, {"z": 0.25})


def test_what_is_not_parquet_is_refused(tmp_path, drops):
    (tmp_path / "a.parquet").write_text("no table")
    with pytest.raises(DataError, match=r"a\.parquet: the file must be Parquet; "):
        read_pairs([DataSource(str(tmp_path / "a.parquet"))], drops=drops)


def test_parquet_that_is_cut_is_refused(tmp_path, drops):
    path = tmp_path / "a.parquet"
    write(path, [{"prompt": "p", "chosen": "a", "rejected": "b"}])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"a\.parquet: the file must be Parquet; "):
        read_pairs([DataSource(str(path))], drops=drops)


@pytest.mark.parametrize("missing", ["pyarrow", "datasets"])
def test_a_missing_package_names_the_extra(tmp_path, monkeypatch, missing):
    path = write(tmp_path / "a.parquet", [{"prompt": "p", "response": "r"}])
    monkeypatch.setitem(sys.modules, missing, None)
    text = r"reading Parquet or hub data needs the optional packages: pip install 'armorm\[data\]'"
    with pytest.raises(MissingDependency, match=text):
        read_conversations(path if missing == "pyarrow" else "hub:owner/name")


def test_lines_and_csv_need_no_optional_package(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"prompt": "p", "response": "r"}\n')
    (tmp_path / "b.csv").write_text("prompt,response\np,r\n")
    code = (
        "import sys; blocked = ('pyarrow', 'datasets', 'torch', 'transformers', 'pandas')\n"
        "for name in blocked: sys.modules[name] = None\n"
        "from armorm.data import read_conversations\n"
        f"print(len(read_conversations({str(tmp_path)!r})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "2\n"


def _hub_code(tmp_path, argument, split):
    """Read through `datasets` in a process whose cache is the folder of the test."""
    code = (
        "from armorm.data import DataSource, read_conversations\n"
        "from armorm.errors import DataError\n"
        f"source = DataSource({argument!r}, split={split!r})\n"
        "try:\n    rows = read_conversations(source)\n"
        "except DataError as error:\n    print(error)\n"
        "else:\n    print([(row.id, row.response) for row in rows])\n"
    )
    env = {**os.environ, "HF_HOME": str(tmp_path / "cache"), "HF_DATASETS_OFFLINE": "1"}
    env["HF_HUB_OFFLINE"] = "1"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def hub_folder(tmp_path_factory):
    """A data set `owner/name` on disk: `datasets` takes a folder of that name for the hub's."""
    folder = tmp_path_factory.mktemp("hub")
    pytest.importorskip("datasets")
    (folder / "owner" / "name").mkdir(parents=True)
    for split, n in (("train", 3), ("test", 1)):
        rows = [{"prompt": "p", "response": f"{split} {i}"} for i in range(n)]
        write(folder / "owner" / "name" / f"{split}.parquet", rows)
    (folder / "owner" / "name" / "extra").mkdir()
    write(folder / "owner" / "name" / "extra" / "rows.parquet", [{"prompt": "p", "response": "x"}])
    return folder


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        (None, "[('name:1', 'train 0'), ('name:2', 'train 1'), ('name:3', 'train 2')]"),
        ("test", "[('name:1', 'test 0')]"),
        ("train[1:2]", "[('name:1', 'train 1')]"),
    ],
)
def test_hub_rows_come_from_the_named_split(hub_folder, split, expected):
    assert _hub_code(hub_folder, "hub:owner/name", split) == expected


def test_a_third_part_that_is_no_configuration_is_a_folder(hub_folder):
    assert _hub_code(hub_folder, "hub:owner/name/extra", None) == "[('name:1', 'x')]"
    said = _hub_code(hub_folder, "hub:owner/name/absent", None)
    assert said.startswith("hub:owner/name/absent: split 'train' cannot be loaded: ")


def test_an_unknown_split_is_located(hub_folder):
    said = _hub_code(hub_folder, "hub:owner/name", "dev")
    assert said.startswith("hub:owner/name: split 'dev' cannot be loaded: Unknown split")


def test_a_data_set_out_of_reach_is_located(hub_folder):
    said = _hub_code(hub_folder, "hub:owner/absent@main", None)
    assert said.startswith("hub:owner/absent@main: split 'train' cannot be loaded: ")
    assert "\n" not in said


def test_the_hub_client_says_nothing_while_a_data_set_is_loaded():
    # Six lines of retries once stood before the one that is ours.
    from huggingface_hub.utils import logging

    client = logging.get_logger("huggingface_hub.utils._http")
    assert client.isEnabledFor(WARNING)
    with _quiet():
        assert not client.isEnabledFor(WARNING)
        assert client.isEnabledFor(ERROR)
    assert client.isEnabledFor(WARNING)
