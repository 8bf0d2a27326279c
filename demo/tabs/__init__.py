"""The tabs of the page, in their order; another one is a module here, its script, and a line below.

A tab imports no other one, and nothing but this list imports a tab.
"""

from ..tab import Tab
from .about import About
from .by_name import ByName
from .correct import Correct
from .evaluate import Evaluate
from .many import Many
from .segment import Segment

TABS: tuple[type[Tab], ...] = (Segment, Correct, ByName, Evaluate, Many, About)
