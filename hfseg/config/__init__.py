"""The options of every command as dataclasses, and how recipe, flags and Python calls fill them.

- `data`, `model`, `training`, `evaluation`: one dataclass per group of options. A field is a flag.
- `parser`: a command line -> the options that were given.
- `resolve`: options over a recipe over the defaults -> `Arguments`.
- `recipes`: named YAML files of flags.
"""
