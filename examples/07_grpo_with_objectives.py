"""Train a policy with TRL's GRPO, every objective a reward of its own (GDPO).

python examples/07_grpo_with_objectives.py [BUNDLE] [POLICY]
Without a policy it makes a tiny one with random weights, to show the calls on any machine.
"""

import sys
from pathlib import Path

from datasets import Dataset
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, PrinterCallback
from trl import GRPOConfig, GRPOTrainer

from armorm import RewardModel
from armorm.features.checkpoint import QUICKSTART, find_folder
from armorm.integrations.trl import objective_reward_functions, reward_weights

bundle = sys.argv[1] if len(sys.argv) > 1 else "runs/quickstart/bundle"
policy = sys.argv[2] if len(sys.argv) > 2 else "runs/tiny-policy"
if len(sys.argv) < 3 and not Path(policy).exists():
    tokenizer = AutoTokenizer.from_pretrained(find_folder(QUICKSTART, None)[0])
    tokenizer.eos_token = tokenizer.sep_token
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        bos_token_id=tokenizer.cls_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(policy)
    tokenizer.save_pretrained(policy)

model = RewardModel.load(bundle)
rewards = objective_reward_functions(model)  # one a named objective, without the nuisance
weights = reward_weights(rewards, {"helpfulness": 1.0, "is_safe": 0.5})
prompts = ["How long do eggs keep?", "Is raw dough safe to eat?", "What is 7 times 8?"]
trainer = GRPOTrainer(
    model=policy,
    reward_funcs=rewards,
    args=GRPOConfig(
        output_dir="runs/grpo",
        max_steps=5,
        per_device_train_batch_size=8,
        num_generations=4,
        max_completion_length=16,
        reward_weights=weights,
        multi_objective_aggregation="normalize_then_sum",
        bf16=False,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    ),
    train_dataset=Dataset.from_dict({"prompt": prompts * 8}),
)
trainer.remove_callback(PrinterCallback)  # it prints everything; a few columns do here
trainer.train()

print(f"{'step':>4}  {'helpfulness':>11}  {'is_safe':>7}  {'score':>7}")
for entry in trainer.state.log_history:
    if "armorm/score" in entry:
        print(
            f"{entry['step']:4.0f}  {entry['rewards/helpfulness/mean']:11.3f}  "
            f"{entry['rewards/is_safe/mean']:7.3f}  {entry['armorm/score']:7.3f}"
        )
