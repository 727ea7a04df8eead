"""Frames: what is packed comes back, by file and by stream; a broken one is an end."""

import asyncio
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from armorm.serve.frames import Frame, pack_frame, read_frame, receive_frame

HEADERS = st.dictionaries(st.text(), st.none() | st.integers() | st.text() | st.lists(st.text()))


def received(content):
    async def run():
        reader = asyncio.StreamReader()
        reader.feed_data(content)
        reader.feed_eof()
        return [await receive_frame(reader) for _ in range(2)]

    return asyncio.run(run())


@given(HEADERS, st.binary())
def test_what_is_packed_comes_back(header, block):
    content = pack_frame(header, block)
    assert read_frame(io.BytesIO(content)) == Frame(header, block)
    assert received(content) == [Frame(header, block), None]


def test_frames_follow_each_other():
    stream = io.BytesIO(pack_frame({"a": 1}) + pack_frame({"b": "ü"}, b"xyz"))
    assert [read_frame(stream) for _ in range(3)] == [({"a": 1}, b""), ({"b": "ü"}, b"xyz"), None]


@pytest.mark.parametrize("n", [0, 5, 17, 23])
def test_a_frame_that_breaks_off_is_the_end(n):
    content = pack_frame({"number": 1}, b"1234")[:n]
    assert read_frame(io.BytesIO(content)) is None
    assert received(content)[0] is None


def test_numbers_that_json_does_not_have_are_not_sent():
    with pytest.raises(ValueError, match="not JSON compliant"):
        pack_frame({"x": float("nan")})
