"""Stopping a model early gives the states of a full run."""

import pytest
import torch
from torch import nn
from transformers import AutoModel, BertConfig, DistilBertConfig, ModernBertConfig, RobertaConfig

from armorm.features.early_exit import layers_of, run_until

SMALL = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64, "vocab_size": 50}
CONFIGS = {
    "bert": BertConfig(num_hidden_layers=4, **SMALL),
    "roberta": RobertaConfig(num_hidden_layers=4, max_position_embeddings=40, **SMALL),
    "modernbert": ModernBertConfig(num_hidden_layers=4, pad_token_id=0, **SMALL),
    "distilbert": DistilBertConfig(n_layers=4, dim=32, n_heads=2, hidden_dim=64, vocab_size=50),
}

# Transformers 4.57 compiles ModernBERT as it is imported, which torch 2.13 warns about.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script_method`:DeprecationWarning")


@pytest.fixture(params=CONFIGS)
def model(request):
    torch.manual_seed(0)
    return AutoModel.from_config(CONFIGS[request.param]).eval()


@pytest.mark.parametrize("last", [0, 1, 3])
def test_states_equal_those_of_a_full_run(model, last):
    ids = torch.tensor([[5, 6, 7, 8], [9, 10, 11, 12]])
    layers = layers_of(model, 4)
    assert layers is not None
    with torch.no_grad():
        full = model(input_ids=ids, output_hidden_states=True).hidden_states
        states = run_until(layers, last, lambda: model(input_ids=ids))
    assert states is not None
    assert len(states) == last + 1
    for state, expected in zip(states, full, strict=False):
        assert torch.equal(state, expected)


def test_layers_above_are_not_run_and_hooks_do_not_stay():
    model = AutoModel.from_config(CONFIGS["bert"]).eval()
    layers = layers_of(model, 4)
    assert layers is not None
    ran = []
    for number, layer in enumerate(layers):
        layer.register_forward_hook(lambda *_, number=number: ran.append(number))
    run_until(layers, 2, lambda: model(input_ids=torch.tensor([[5, 6]])))
    assert ran == [0, 1]
    model(input_ids=torch.tensor([[5, 6]]))
    assert ran == [0, 1, 0, 1, 2, 3]


def test_a_model_that_skips_its_layers_is_not_stopped():
    layers = nn.ModuleList([nn.Identity(), nn.Identity()])
    assert run_until(layers, 1, lambda: None) is None


def test_layers_are_found_only_where_there_is_no_doubt():
    two = nn.ModuleDict({"a": nn.ModuleList([nn.Identity()]), "b": nn.ModuleList([nn.Identity()])})
    assert layers_of(two, 1) is None
    assert layers_of(nn.Linear(2, 2), 1) is None
