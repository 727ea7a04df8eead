"""From a recipe to a run folder, resumable at every stage."""
