"""Stands in for ``slicer.testing.runUnitTest``: ``run_unit_test.py FOLDER NAME`` runs the unit tests of a module file.

Slicer starts its application for this; here the scene is Slicer's own and its widgets are those of the library's tests.
"""

from __future__ import annotations

import importlib
import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def main(folder: str, name: str) -> int:
    sys.path.insert(0, str(ROOT / "Testing" / "Python" / "module"))
    sys.path.insert(0, str(ROOT))
    import slicer
    import slicer_stand_ins

    from VertebralFractureLib.export.scene import new_scene

    slicer_stand_ins.install()
    slicer.mrmlScene = new_scene()
    sys.path.insert(0, folder)
    tests = unittest.defaultTestLoader.loadTestsFromModule(importlib.import_module(name))
    result = unittest.TextTestRunner(verbosity=2).run(tests)
    return 0 if result.wasSuccessful() and result.testsRun > 0 else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
