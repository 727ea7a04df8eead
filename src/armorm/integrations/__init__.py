"""Rewards for trainers: the calls that TRL, OpenRLHF, verl and NeMo-RL make, answered by our model."""
