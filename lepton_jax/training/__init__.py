"""From a config to a trained state: program, step, loop, checkpoints."""
