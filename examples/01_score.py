"""Score conversations with the bundle of the quick start (`armorm demo` makes it)."""

import sys

from armorm import RewardModel

bundle = sys.argv[1] if len(sys.argv) > 1 else "runs/quickstart/bundle"
model = RewardModel.load(bundle)

prompt = "How long do hard boiled eggs keep in the fridge?"
scores = model.score(
    [
        {"prompt": prompt, "response": "About a week, in the shell or out of it."},
        {"prompt": prompt, "response": "Eggs are loved all over the world."},
        # A conversation may also be messages that end in the response.
        [
            {"role": "user", "content": "Is it safe to eat raw cookie dough?"},
            {
                "role": "assistant",
                "content": "Better not: raw flour and raw eggs can make you ill.",
            },
        ],
    ]
)

print(f"{'score':>7}  {'helpfulness':>11}  {'is_safe':>7}  tokens")
for row in scores:
    objectives = row.objectives
    print(
        f"{row.score:7.3f}  {objectives['helpfulness']:11.2f}  {objectives['is_safe']:7.2f}  "
        f"{row.n_tokens:6d}"
    )
