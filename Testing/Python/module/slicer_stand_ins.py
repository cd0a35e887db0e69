"""The application side of Slicer that slicer-core lacks, small and real: PySide6 as ``qt``, and the few base classes.

The scene, its nodes and ``slicer.util`` are Slicer's own; only widgets are PySide6 with PythonQt's properties and
string connections added. What passes here is not proven in Slicer's PythonQt, but a wrong name or a wrong order shows.
"""

from __future__ import annotations

import os
import sys
import types
import unittest
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import slicer
import slicer.util
from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

ROOT = Path(__file__).resolve().parents[3]


class PythonQtNames:
    """Properties where PySide6 has a getter and a setter."""

    name = property(lambda self: self.objectName())
    enabled = property(lambda self: self.isEnabled(), lambda self, value: self.setEnabled(value))
    visible = property(lambda self: not self.isHidden(), lambda self, value: self.setVisible(value))


class QLabel(PythonQtNames, QtWidgets.QLabel):
    text = property(QtWidgets.QLabel.text, lambda self, value: self.setText(value))


class QPushButton(PythonQtNames, QtWidgets.QPushButton):
    text = property(QtWidgets.QPushButton.text, lambda self, value: self.setText(value))


class QProgressBar(PythonQtNames, QtWidgets.QProgressBar):
    value = property(QtWidgets.QProgressBar.value, lambda self, value: self.setValue(value))


class QTableWidget(PythonQtNames, QtWidgets.QTableWidget):
    rowCount = property(QtWidgets.QTableWidget.rowCount, lambda self, value: self.setRowCount(value))


class qMRMLWidget(PythonQtNames, QtWidgets.QWidget):
    def setMRMLScene(self, scene):
        for child in self.findChildren(qMRMLNodeComboBox):
            child.setMRMLScene(scene)


class qMRMLNodeComboBox(PythonQtNames, QtWidgets.QWidget):
    """Chooses the newest volume by itself, as Slicer's does where "none" is not allowed."""

    currentNodeChanged = QtCore.Signal(object)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._scene = self._node = None

    def setMRMLScene(self, scene):
        self._scene = scene
        scene.AddObserver(scene.NodeAddedEvent, self._chooseFirst)
        scene.AddObserver(scene.NodeRemovedEvent, self._chooseFirst)
        self._chooseFirst()

    def currentNode(self):
        return self._node

    def setCurrentNode(self, node):
        if node is not self._node:
            self._node = node
            self.currentNodeChanged.emit(node)

    def _chooseFirst(self, *_event):
        if self._node is None or self._scene.GetNodeByID(self._node.GetID() or "") is not self._node:
            self.setCurrentNode(self._scene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode"))


class QUiLoader(QtUiTools.QUiLoader):
    """Builds the classes above; the panel keeps their Python side alive, which PySide6 would else drop."""

    def __init__(self):
        super().__init__()
        self._made = []

    def load(self, file):
        panel = super().load(file)
        panel.madeWidgets = self._made
        return panel

    def createWidget(self, className, parent=None, name=""):
        known = {kind.__name__: kind for kind in WIDGETS}
        if className not in known:
            return super().createWidget(className, parent, name)
        widget = known[className](parent)
        widget.setObjectName(name)
        self._made.append(widget)
        return widget


def connect(self, signature, listener):
    """PythonQt's way, with the signature as text."""
    getattr(self, signature.partition("(")[0]).connect(listener)


WIDGETS = (QLabel, QPushButton, QProgressBar, QTableWidget, qMRMLWidget, qMRMLNodeComboBox)
for widget_class in WIDGETS:
    # PySide6 finds its own static ``connect`` before an inherited one, so each class needs it for itself.
    widget_class.connect = connect


class ScriptedLoadableModule:
    def __init__(self, parent):
        self.parent = parent


class ScriptedLoadableModuleWidget:
    def __init__(self, parent=None):
        self.parent = parent or QtWidgets.QWidget()
        self.layout = self.parent.layout() or QtWidgets.QVBoxLayout(self.parent)

    def setup(self):
        pass

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
    for kind in (*WIDGETS, QUiLoader):
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
