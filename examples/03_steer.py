"""Steer a model by objective name, without training."""

import sys

from armorm import RewardModel

bundle = sys.argv[1] if len(sys.argv) > 1 else "runs/quickstart/bundle"
model = RewardModel.load(bundle)

prompt = "Explain what a hash table is."
responses = {
    "short": "An array in which a key's hash says where its value lies, so that look-up is fast.",
    "long": (
        "A hash table stores pairs of keys and values. A hash function turns the key into a "
        "number, the number modulo the size of the array gives a slot, and the value is kept "
        "there. Two keys can share a slot; then the slot holds a short list, or the next free "
        "slot is used. When the table fills up it is doubled and every pair is put in anew. "
        "Look-up, insertion and removal take constant time on average."
    ),
}
conversations = [{"prompt": prompt, "response": text} for text in responses.values()]

steered = {
    "as trained": model,
    # Multiplies the gating and renormalises: the prompt still decides the rest.
    "honesty x 3": model.scaled({"honesty": 3.0}),
    # Fixed weights in place of gating and debias.
    "short and kind": model.with_weights({"respectfulness": 1.0, "verbosity": -1.0}),
}
print(f"{'':<16}" + "".join(f"{name:>9}" for name in responses))
for name, one in steered.items():
    print(f"{name:<16}" + "".join(f"{score:9.3f}" for score in one.score(conversations).score))
