"""What the commands do, as Python functions: fine-tune, evaluate, predict, tune, compare."""
