"""The options of every command as dataclasses, filled from recipes, flags and Python calls.

- `data`, `model`, `training`, `evaluation`: one dataclass per group of options. A field is a flag.
- `parser`: a command line -> the options given in it.
- `resolve`: options over a recipe over the defaults -> `Arguments`.
- `recipes`: named YAML files of flags.
"""
