"""The application side of Slicer that slicer-core lacks, small and real: PySide6 as ``qt``, and the few base classes.

The scene, its nodes and ``slicer.util`` are Slicer's own; only widgets are PySide6 with PythonQt's properties and
string connections added. What passes here is not proven in Slicer's PythonQt, but a wrong name or a wrong order shows.
"""

from __future__ import annotations

import importlib
import os
import sys
import types
import unittest
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import slicer
import slicer.util
from PySide6 import QtCore, QtGui, QtWidgets
from widget_stand_ins import WIDGETS, QFileDialog, QUiLoader

ROOT = Path(__file__).resolve().parents[3]


class ScriptedLoadableModule:
    def __init__(self, parent):
        self.parent = parent


def module_parent():
    """The widget with a layout that Slicer gives a module to be shown in."""
    parent = QtWidgets.QWidget()
    parent.setLayout(QtWidgets.QVBoxLayout())
    return parent


class ScriptedLoadableModuleWidget:
    def __init__(self, parent=None):
        """As Slicer's: without a parent it makes one, and sets itself up at once."""
        self.parent = parent or module_parent()
        self.layout = self.parent.layout()
        if parent is None:
            self.setup()
            self.parent.show()

    def setup(self):
        pass

    def onReload(self):
        """As Slicer's: the old panel is cleaned up, the file is loaded again, and a new panel takes its place."""
        self.cleanup()
        fresh = importlib.reload(sys.modules[type(self).__module__])
        widget = getattr(fresh, type(self).__name__)(module_parent())
        widget.setup()
        return widget

    def resourcePath(self, name):
        return str(ROOT / "VertebralFracture" / "Resources" / name)


class ScriptedLoadableModuleLogic:
    def getParameterNode(self):
        node = slicer.mrmlScene.GetSingletonNode("VertebralFracture", "vtkMRMLScriptedModuleNode")
        if node is None:
            node = slicer.vtkMRMLScriptedModuleNode()
            node.SetSingletonTag("VertebralFracture")
            node.SetModuleName("VertebralFracture")
            node = slicer.mrmlScene.AddNode(node)
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    pass


def install():
    """Put the stand-ins where the module looks for them; gives the ``QApplication``."""
    application = QtWidgets.QApplication.instance() or QtWidgets.QApplication([])
    qt = types.ModuleType("qt")
    for source in (QtCore, QtGui, QtWidgets):
        for name in dir(source):
            if name.startswith("Q"):
                setattr(qt, name, getattr(source, name))
    for kind in (*WIDGETS, QFileDialog, QUiLoader):
        setattr(qt, kind.__name__, kind)
    base = types.ModuleType("slicer.ScriptedLoadableModule")
    for kind in (
        ScriptedLoadableModule,
        ScriptedLoadableModuleWidget,
        ScriptedLoadableModuleLogic,
        ScriptedLoadableModuleTest,
    ):
        setattr(base, kind.__name__, kind)
    sys.modules["qt"] = qt
    sys.modules["slicer.ScriptedLoadableModule"] = base
    module_folder = str(ROOT / "VertebralFracture")
    if module_folder not in sys.path:
        sys.path.insert(0, module_folder)
    return application
