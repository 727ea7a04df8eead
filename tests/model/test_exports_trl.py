"""TRL's trainer takes an export by its path, and its rewards are the scores of the bundle."""

import pytest
import torch
from transformers import AutoTokenizer, dynamic_module_utils

from armorm import RewardModel
from armorm.model.exports import export_model
from bundles import OBJECTIVES, decoder_backbone, make_bundle
from fakes import save_tiny_decoder

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.mark.parametrize("to", ["classifier", "armorm"])
def test_rewards_that_the_trainer_logs_are_scores(tmp_path, monkeypatch, to):
    trl = pytest.importorskip("trl")
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    backbone = decoder_backbone(tmp_path / "backbone")
    bundle = make_bundle(backbone.facts(), bias=torch.zeros(len(OBJECTIVES)), baselines=None)
    model = RewardModel(bundle, backbone)
    if to == "classifier":
        model = model.with_weights({"honesty": 1.0, "verbosity": -0.5})
    export_model(model, tmp_path / "export", to=to)
    policy = save_tiny_decoder(tmp_path / "policy", seed=1)
    seen = []

    def watch(prompts, completions, **_):
        seen.append([{"messages": [*p, *c]} for p, c in zip(prompts, completions, strict=True)])
        return [0.0] * len(prompts)

    rows = [{"prompt": [{"role": "user", "content": f"Question {i}?"}]} for i in range(4)]
    trainer = trl.GRPOTrainer(
        model=str(policy),
        reward_funcs=[str(tmp_path / "export"), watch],
        args=trl.GRPOConfig(
            output_dir=str(tmp_path / "trl"),
            max_steps=2,
            per_device_train_batch_size=4,
            num_generations=4,
            max_completion_length=8,
            use_cpu=True,
            bf16=False,
            logging_steps=1,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
            trust_remote_code=to == "armorm",
        ),
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(policy),
    )
    trainer.train()
    logged = [log["rewards/export/mean"] for log in trainer.state.log_history if "reward" in log]
    wanted = [float(model.score(rows).score.mean()) for rows in seen]
    assert len(logged) == 2
    assert logged == pytest.approx(wanted, abs=1e-5)
