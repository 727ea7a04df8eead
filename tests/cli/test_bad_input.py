"""Bad input: one line on stderr that says where, what must hold, what was found; exit 2.

The tables hold every case with its whole message, for a reader. `{}` stands for the file,
whose rows 1 and 2 are good: they must not be named.
"""

import json
import math
import shutil

import pytest

from bundles import encoder_backbone, make_bundle, rewrite_facts, saved

GOOD = {"id": "innocent", "prompt": "What is 2 plus 2?", "response": "It is 4."}
PAIR = {"id": "innocent", "prompt": "What is 2 plus 2?", "chosen": "4.", "rejected": "5."}
RATED = GOOD | {"source": "general", "ratings": {"honesty": 3}}
TURNS = [{"role": "user", "content": "2+2?"}, {"role": "bot", "content": "4."}]


def line(row, **changes):
    """A good row with changes; `...` leaves a field out."""
    changed = row | {"id": "bad"} | changes
    return json.dumps({name: value for name, value in changed.items() if value is not ...})


# What stands in line 3 of a file, and what is said about it.
CONVERSATIONS = {
    '{"prompt": "a", ': (
        "{}:3: not JSON: Expecting property name enclosed in double quotes at column 17"
    ),
    "[1, 2]": (
        "{}:3: a row must be a JSON object; got a list "
        "(a file that is one JSON array must end in .json)"
    ),
    line(GOOD, response=...): "{}:3: missing field 'response'; found 'id', 'prompt'",
    line(GOOD, prompt=""): "{}:3: `prompt` must not be empty; got ''",
    line(GOOD, response="  "): "{}:3: `response` must not be empty; got '  '",
    line(GOOD, response=4): "{}:3: `response` must be text; got 4",
    line(GOOD, id="x", prompt=[]): "{}:3: `prompt` must be text or messages; got an empty list",
    line({}, messages=TURNS[:1]): (
        "{}:3: `messages`: a conversation must end in a response; "
        "the last message is a 'user' message"
    ),
    line({}, messages=TURNS): (
        "{}:3: `messages[1].role` must be 'system', 'user' or 'assistant'; got 'bot'"
    ),
    line(GOOD, id="second"): "{}:3: id 'second' must be unique; {}:2 has it too",
}
PAIRS = {
    line(PAIR, rejected="4."): "{}:3: `chosen` and `rejected` must differ; both are '4.'",
    line(PAIR, rejected=...): "{}:3: missing field 'rejected'; found 'id', 'prompt', 'chosen'",
    line(PAIR, chosen=""): "{}:3: `chosen` must not be empty; got ''",
    line(PAIR, id="second"): "{}:3: id 'second' must be unique; {}:2 has it too",
}
RATINGS = {
    line(RATED, ratings={"honesty": "high"}): (
        "{}:3: rating 'honesty' must be a number; got the text 'high' (null means not rated; "
        "`values` of the data source maps texts to numbers)"
    ),
    line(RATED, ratings={"honesty": math.nan}): (
        "{}:3: rating 'honesty' must be finite; got nan (null means not rated)"
    ),
    line(RATED, ratings={"honesty": math.inf}): (
        "{}:3: rating 'honesty' must be finite; got inf (null means not rated)"
    ),
}
SCALES = {  # only a bundle knows the scales
    line(RATED, ratings={"honesty": 9}): "{}:3: rating 'honesty' must be from 0 to 4; got 9",
    line(RATED, ratings={"honestly": 3}): (
        "{}:3: unknown objective 'honestly' of source 'general'; did you mean 'honesty'?"
    ),
    line(RATED, source="generals"): "{}:3: unknown source 'generals'; did you mean 'general'?",
}
FILES = {
    "absent": (None, "{}: no such file or folder"),
    "empty": (b"", "{}: the file must have at least one row; it is empty"),
    "blank": (b"\n\n", "{}: the file must have at least one row; it has none"),
    "latin-1": (
        b'{"prompt": "na\xefve", "response": "x"}\n',
        "{}:1: not UTF-8: byte 0xef at byte 15 of the line",
    ),
}

SCORE, EXPLAIN = ["score", "BUNDLE", "IN"], ["explain", "BUNDLE", "IN"]
EVALUATE_PAIRS = ["evaluate", "BUNDLE", "--pairs", "IN"]
EVALUATE_RATED = ["evaluate", "BUNDLE", "--rated", "IN"]
CHECK = ["data", "check", "IN"]

CASES = [
    *((args, GOOD, *case) for args in (SCORE, EXPLAIN, CHECK) for case in CONVERSATIONS.items()),
    *((args, PAIR, *case) for args in (SCORE, EVALUATE_PAIRS, CHECK) for case in PAIRS.items()),
    *((args, RATED, *case) for args in (EVALUATE_RATED, CHECK) for case in RATINGS.items()),
    *((EVALUATE_RATED, RATED, *case) for case in SCALES.items()),
]


def check(done, args, text):
    """Exit 2 and this one line on stderr; stdout has results only where the check is one."""
    assert done.code == 2
    if args == CHECK:
        text = f"{text} "  # `data check` adds how many rows cannot be used
        assert done.err.startswith(f"error: {text}(1 of "), done.err
        assert done.err.count("\n") == 1
    else:
        assert done.err == f"error: {text}\n"
        assert done.out == ""
    assert "innocent" not in done.err


@pytest.mark.parametrize(("args", "good", "bad", "text"), CASES)
def test_a_bad_row_is_one_located_line(armorm, bundle, tmp_path, args, good, bad, text):
    path = tmp_path / "rows.jsonl"
    rows = [json.dumps(good), json.dumps(good | {"id": "second"}), bad]
    path.write_text("".join(row + "\n" for row in rows))
    done = armorm(*({"BUNDLE": bundle, "IN": path}.get(a, a) for a in args))
    check(done, args, text.format(path, path))


@pytest.mark.parametrize("args", [SCORE, EXPLAIN, EVALUATE_PAIRS, EVALUATE_RATED, CHECK])
@pytest.mark.parametrize("case", FILES)
def test_a_file_that_cannot_be_read_is_one_located_line(armorm, bundle, tmp_path, args, case):
    content, text = FILES[case]
    path = tmp_path / "rows.jsonl"
    if content is not None:
        path.write_bytes(content)
    done = armorm(*({"BUNDLE": bundle, "IN": path}.get(a, a) for a in args))
    if args == CHECK and case != "latin-1":  # no row that could be counted
        args = []
    check(done, args, text.format(path))


def test_a_pair_among_conversations_is_refused(armorm, bundle, rows):
    path = rows("rows.jsonl", [GOOD, PAIR | {"id": "bad"}])
    done = armorm("score", bundle, path)
    text = (
        "a file must hold one shape of rows; the first row makes it conversations, this is a pair"
    )
    check(done, SCORE, f"{path}:2: {text}")


# What is done to a copy of the bundle, and what is said about it.
def _delete(folder):
    (folder / "heads.safetensors").unlink()


def _flip(folder):
    content = bytearray((folder / "heads.safetensors").read_bytes())
    content[-3] ^= 4
    (folder / "heads.safetensors").write_bytes(bytes(content))


def _flip_facts(folder):
    path = folder / "bundle.json"
    path.write_bytes(path.read_bytes().replace(b'"helpfulness"', b'"helpfulnesr"', 1))


def _newer(folder):
    rewrite_facts(folder, schema=2)


def _unfinished(folder):
    (folder / "bundle.json").unlink()


BUNDLES = {
    _delete: "{} has no heads.safetensors: not a bundle, or its save did not finish",
    _unfinished: "{} has no bundle.json: not a bundle, or its save did not finish",
    _flip: "{}/heads.safetensors: the SHA-256 must be ",
    _flip_facts: "{}/bundle.json: the digest must be ",
    _newer: (
        "{}/bundle.json: schema 2 is newer than this version of armorm reads (1); upgrade armorm"
    ),
    shutil.rmtree: "{}: no such bundle",
}


@pytest.mark.parametrize("damage", BUNDLES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("command", ["score", "explain", "evaluate"])
def test_a_bundle_that_cannot_be_used_is_one_line(armorm, bundle, pairs, tmp_path, damage, command):
    copy = shutil.copytree(bundle, tmp_path / "copy")
    damage(copy)
    done = armorm(command, copy, *(["--pairs"] if command == "evaluate" else []), pairs)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: " + BUNDLES[damage].format(copy))
    assert done.err.count("\n") == 1


def test_another_backbone_is_one_line(armorm, bundle, conversations, backbone_folder, tmp_path):
    other = shutil.copytree(backbone_folder, tmp_path / "other")
    config = json.loads((other / "config.json").read_bytes())
    (other / "config.json").write_text(json.dumps(config | {"layer_norm_eps": 1e-5}))
    done = armorm("score", bundle, conversations, "--backbone", other)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert done.err.startswith(f"error: {bundle}: the backbone must be '{backbone_folder}' with")


def test_a_row_that_is_too_long_is_one_line(armorm, tmp_path, rows):
    backbone = encoder_backbone(tmp_path / "encoder", max_tokens=32)
    folder = saved(tmp_path / "bundle", make_bundle(backbone.facts()))
    many = [GOOD | {"id": f"innocent-{i}"} for i in range(300)]  # the first part has its bar
    path = rows("rows.jsonl", [*many, GOOD | {"id": "long", "prompt": "w " * 90}])
    done = armorm("score", folder, path, "-o", tmp_path / "out.jsonl")
    assert (done.code, done.out) == (2, "")
    text = f"error: {path}: conversation 'long' (row 300) gets no features: longer"
    assert done.err.startswith(text)
    assert done.err.count("\n") == 1
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize("command", ["explain", "evaluate"])
def test_a_row_that_the_backbone_cannot_take_is_said_with_its_file(armorm, tmp_path, rows, command):
    backbone = encoder_backbone(tmp_path / "encoder", max_tokens=32)
    folder = saved(tmp_path / "bundle", make_bundle(backbone.facts()))
    path = rows("rows.jsonl", [PAIR | {"prompt": "w " * 90}])
    done = armorm(command, folder, *(["--pairs"] if command == "evaluate" else []), path)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert done.err.startswith(f"error: {path}: conversation 'innocent' (row 0) gets no features")


NOTHING = "`path` must name a file, a folder or a hub data set; got ''"
HUB = "`path` on the hub must be hub:owner/name, then /config and @revision; got 'hub:a//b'"


@pytest.mark.parametrize("args", [SCORE, EXPLAIN, EVALUATE_PAIRS, EVALUATE_RATED, CHECK])
@pytest.mark.parametrize(("path", "text"), [("", NOTHING), ("hub:a//b", HUB)])
def test_a_path_that_names_nothing_is_one_line(armorm, bundle, args, path, text):
    done = armorm(*({"BUNDLE": bundle, "IN": path}.get(a, a) for a in args))
    assert (done.code, done.out, done.err) == (2, "", f"error: {text}\n")


LONG_NAME = "x" * 300


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ("{}", "{}: cannot be written: Is a directory"),
        ("{}/file/x", "{}/file/x: cannot be written: Not a directory"),
        ("{}/" + LONG_NAME, "{}/" + LONG_NAME + ": cannot be written: File name too long"),
        ("", "-o: must name a file or folder; got ''"),
    ],
)
def test_an_output_that_cannot_be_written_is_told_before_anything_is_read(
    armorm, tmp_path, output, text
):
    (tmp_path / "file").write_text("old")
    done = armorm("score", "no-bundle", "no-rows", "-o", output.format(tmp_path))
    assert (done.code, done.out, done.err) == (2, "", f"error: {text.format(tmp_path)}\n")


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ("{}/file", "{}/file/report.md: cannot be written: Not a directory"),
        ("", "-o: must name a file or folder; got ''"),
    ],
)
def test_a_report_that_cannot_be_written_is_told_before_anything_is_read(
    armorm, tmp_path, output, text
):
    (tmp_path / "file").write_text("old")
    done = armorm("evaluate", "no-bundle", "--pairs", "x", "-o", output.format(tmp_path))
    assert (done.code, done.out, done.err) == (2, "", f"error: {text.format(tmp_path)}\n")


def test_a_bundle_whose_name_is_too_long_is_one_line(armorm, conversations):
    done = armorm("score", LONG_NAME, conversations)
    text = f"error: {LONG_NAME}: cannot be read: File name too long\n"
    assert (done.code, done.out, done.err) == (2, "", text)


def test_control_characters_of_a_name_do_not_reach_the_terminal(armorm):
    done = armorm("data", "check", "a\r\x1b[2J\x9b1m\u202eb\n.jsonl")
    text = "error: a\\r\\x1b[2J\\x9b1m\\u202eb .jsonl: no such file or folder\n"
    assert (done.code, done.err) == (2, text)
