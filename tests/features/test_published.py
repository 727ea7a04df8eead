"""Feature files in the layout of the published scripts, written here."""

import pytest
import torch
from safetensors.torch import save_file

from armorm.errors import FeatureError
from armorm.features.published import OBJECTIVES, read_published_pairs, read_published_rated


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).bfloat16()


def write_rated(folder, n=7, *, number=1, count=1, seed=0, **changes):
    labels = torch.rand(n, len(OBJECTIVES), generator=torch.Generator().manual_seed(seed))
    labels[::2, 3] = torch.nan
    tensors = {"embeddings": draw(n, 4, seed=seed), "labels": labels} | changes
    path = folder / f"ArmoRM-Multi-Objective-Data-v0.1-{number:05d}-of-{count:05d}.safetensors"
    save_file({k: v for k, v in tensors.items() if v is not None}, path)
    return path, tensors


def write_pairs(folder, p=5, **changes):
    tensors = {"embeddings": draw(p, 2, 4), "prompt_embeddings": draw(p, 1, 4).repeat(1, 2, 1)}
    tensors |= changes
    path = folder / "UltraFeedback-preference-standard-train.safetensors"
    save_file(tensors, path)
    return path, tensors


def test_rated_features_and_labels_come_as_they_are(tmp_path):
    path, tensors = write_rated(tmp_path)
    found = read_published_rated(path)
    assert found.response.dtype == torch.bfloat16
    assert torch.equal(found.response[:], tensors["embeddings"])
    torch.testing.assert_close(found.ratings, tensors["labels"], equal_nan=True)


def test_shards_come_in_the_order_of_their_numbers(tmp_path):
    second, b = write_rated(tmp_path, 3, number=2, count=2, seed=1)
    first, a = write_rated(tmp_path, number=1, count=2)
    whole = torch.cat([a["embeddings"], b["embeddings"]])
    assert torch.equal(read_published_rated(tmp_path).response[:], whole)
    assert torch.equal(read_published_rated([second, first]).response[:], whole)


def test_sides_of_a_pair_come_apart(tmp_path):
    path, tensors = write_pairs(tmp_path)
    found = read_published_pairs(path)
    assert torch.equal(found.chosen[:], tensors["embeddings"][:, 0])
    assert torch.equal(found.rejected[torch.tensor([3, 1])], tensors["embeddings"][[3, 1], 1])
    assert torch.equal(found.prompt[:], tensors["prompt_embeddings"][:, 1])


def test_missing_shard_is_named(tmp_path):
    write_rated(tmp_path, number=1, count=3)
    write_rated(tmp_path, number=3, count=3)
    with pytest.raises(FeatureError, match="shard 2 of 3 is missing"):
        read_published_rated(tmp_path)


def test_shards_of_two_runs_are_refused(tmp_path):
    write_rated(tmp_path, number=1, count=1)
    write_rated(tmp_path, number=1, count=2)
    with pytest.raises(FeatureError, match="the shards must be of one run; found ArmoRM"):
        read_published_rated(tmp_path)


def test_file_of_the_other_kind_is_refused(tmp_path):
    path, _ = write_pairs(tmp_path)
    with pytest.raises(
        FeatureError, match="must hold `labels`; it holds embeddings, prompt_embeddings"
    ):
        read_published_rated(path)


@pytest.mark.parametrize("shape", [(7,), (7, 3, 4)])
def test_other_shape_is_refused(shape, tmp_path):
    path, _ = write_rated(tmp_path, embeddings=torch.zeros(shape))
    with pytest.raises(FeatureError, match=r"`embeddings` must have shape \(n, d\) with 7 rows"):
        read_published_rated(path)


def test_sides_that_are_not_two_are_refused(tmp_path):
    path, _ = write_pairs(tmp_path, prompt_embeddings=torch.zeros(5, 3, 4))
    text = r"`prompt_embeddings` must have shape \(p, 2, d\) with 5 rows; got \(5, 3, 4\)"
    with pytest.raises(FeatureError, match=text):
        read_published_pairs(path)


def test_no_file_and_no_safetensors_file_are_refused(tmp_path):
    with pytest.raises(FeatureError, match="there must be a safetensors file; there is none"):
        read_published_rated(tmp_path)
    (tmp_path / "x.safetensors").write_bytes(b"not one")
    with pytest.raises(FeatureError, match=r"x\.safetensors: not a safetensors file"):
        read_published_rated(tmp_path)
    with pytest.raises(FeatureError, match=r"absent\.safetensors: not a safetensors file"):
        read_published_rated(tmp_path / "absent.safetensors")
