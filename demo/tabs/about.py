"""The model card."""

from collections.abc import Callable, Mapping
from typing import Any

from ..tab import BESIDE, Tab


class About(Tab):
    name, label = "about", "About"

    def endpoints(self) -> dict[Callable[..., Any], Mapping[str, Any]]:
        return {self.card: BESIDE}

    def card(self, model: str = "") -> dict:
        """The model card as HTML (see card.py)."""
        return {"html": self.models.card(model)}
