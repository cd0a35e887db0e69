"""A digital spine phantom with known truth: CT, centerline, vertebrae, levels, heights and grades, by seed."""

from VertebralFractureLib.research.phantom.make_phantom import Phantom, make_phantom
from VertebralFractureLib.research.phantom.options import FractureOptions, PhantomOptions
from VertebralFractureLib.research.phantom.random_options import demo_options, numbering_options, random_options

__all__ = [
    "FractureOptions",
    "Phantom",
    "PhantomOptions",
    "demo_options",
    "make_phantom",
    "numbering_options",
    "random_options",
]
