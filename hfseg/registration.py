"""Our architectures in transformers' Auto classes, without importing torch on `import hfseg`."""

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from types import ModuleType

_AUTO_CLASSES = "transformers.models.auto.modeling_auto"


class _AfterAutoClasses(importlib.abc.MetaPathFinder):
    """Imports `hfseg.models`, which registers, right after transformers' Auto classes."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != _AUTO_CLASSES:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def execute_and_register(module: ModuleType) -> None:
            execute(module)
            importlib.import_module("hfseg.models")

        spec.loader.exec_module = execute_and_register  # type: ignore[method-assign]
        return spec


def register_with_transformers() -> None:
    """Register now, or as soon as transformers' Auto classes are imported."""
    if _AUTO_CLASSES in sys.modules:
        importlib.import_module("hfseg.models")
    elif not any(isinstance(finder, _AfterAutoClasses) for finder in sys.meta_path):
        sys.meta_path.insert(0, _AfterAutoClasses())
