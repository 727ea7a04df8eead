"""Rewards for trainers: the calls that TRL, OpenRLHF, verl, NeMo-RL and slime make, answered."""
