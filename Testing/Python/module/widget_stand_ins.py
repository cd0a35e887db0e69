"""PySide6 widgets with PythonQt's properties and string connections, and small stand-ins for Slicer's and CTK's own."""

from __future__ import annotations

import ctypes
import sys

from PySide6 import QtCore, QtUiTools, QtWidgets

if sys.version_info < (3, 12):
    # PySide6's functions without a result give a None that they never counted, as if it were immortal, which it is
    # from Python 3.12 on; before that, some ten thousand calls end the interpreter ("deallocating None").
    ctypes.c_ssize_t.from_address(id(None)).value += 1 << 40


def _property(get, put):
    return property(lambda self: getattr(self, get)(), lambda self, value: getattr(self, put)(value))


def _isShown(widget):
    """Whether it would be seen if nothing above it were folded."""
    folded = getattr(widget.parentWidget(), "hiddenByFold", {})
    return folded[widget] if widget in folded else not widget.isHidden()


def _setShown(widget, isShown):
    """As in CTK, what is shown or hidden in a folded section is so once that is unfolded."""
    folded = getattr(widget.parentWidget(), "hiddenByFold", {})
    if widget in folded:
        folded[widget] = isShown
    else:
        widget.setVisible(isShown)


class PythonQtNames:
    """Properties where PySide6 has a getter and a setter."""

    name = property(lambda self: self.objectName())
    enabled = _property("isEnabled", "setEnabled")
    accessibleName = property(lambda self: QtWidgets.QWidget.accessibleName(self))
    toolTip = property(lambda self: QtWidgets.QWidget.toolTip(self))
    visible = property(_isShown, _setShown)


class QFrame(PythonQtNames, QtWidgets.QFrame):
    pass


class QLabel(PythonQtNames, QtWidgets.QLabel):
    text = property(QtWidgets.QLabel.text, lambda self, value: self.setText(value))


class QPushButton(PythonQtNames, QtWidgets.QPushButton):
    text = property(QtWidgets.QPushButton.text, lambda self, value: self.setText(value))
    checked = _property("isChecked", "setChecked")


class QLineEdit(PythonQtNames, QtWidgets.QLineEdit):
    text = property(QtWidgets.QLineEdit.text, lambda self, value: self.setText(value))


class QCheckBox(PythonQtNames, QtWidgets.QCheckBox):
    checked = _property("isChecked", "setChecked")


class QComboBox(PythonQtNames, QtWidgets.QComboBox):
    count = property(QtWidgets.QComboBox.count)
    currentIndex = property(QtWidgets.QComboBox.currentIndex, lambda self, value: self.setCurrentIndex(value))
    currentText = property(QtWidgets.QComboBox.currentText)


class QSpinBox(PythonQtNames, QtWidgets.QSpinBox):
    value = property(QtWidgets.QSpinBox.value, lambda self, value: self.setValue(value))


class QProgressBar(PythonQtNames, QtWidgets.QProgressBar):
    value = property(QtWidgets.QProgressBar.value, lambda self, value: self.setValue(value))


class QTableWidget(PythonQtNames, QtWidgets.QTableWidget):
    rowCount = property(QtWidgets.QTableWidget.rowCount, lambda self, value: self.setRowCount(value))


class QFileDialog(QtWidgets.QFileDialog):
    """PythonQt's static functions give the name alone."""

    @staticmethod
    def getSaveFileName(*arguments):
        return QtWidgets.QFileDialog.getSaveFileName(*arguments)[0]


class ctkCollapsibleButton(PythonQtNames, QtWidgets.QWidget):
    """A title bar that folds what lies below it."""

    def __init__(self, parent=None):
        super().__init__(parent)
        self._title = QtWidgets.QToolButton(self)
        self._title.setToolButtonStyle(QtCore.Qt.ToolButtonTextBesideIcon)
        self._title.setSizePolicy(QtWidgets.QSizePolicy.Expanding, QtWidgets.QSizePolicy.Fixed)
        self._title.clicked.connect(lambda: self._setCollapsed(not self._collapsed))
        self._collapsed = False
        self.hiddenByFold = {}

    def _setText(self, text):
        self._title.setText(text)

    def _setCollapsed(self, collapsed):
        self._collapsed = collapsed
        self._fold()

    def event(self, event):
        if event.type() == QtCore.QEvent.Polish:
            # CTK's is a button itself; here the title is what has the focus.
            self._title.setAccessibleDescription(QtWidgets.QWidget.accessibleDescription(self))
        if event.type() in (QtCore.QEvent.Polish, QtCore.QEvent.LayoutRequest, QtCore.QEvent.Resize):
            self._fold()
        return super().event(event)

    def _fold(self):
        height = self._title.sizeHint().height()
        self._title.setGeometry(0, 0, self.width(), height)
        self._title.setArrowType(QtCore.Qt.RightArrow if self._collapsed else QtCore.Qt.DownArrow)
        if self.layout() is not None and self.layout().contentsMargins().top() != height + 6:
            self.layout().setContentsMargins(9, height + 6, 9, 6)
        self.setMaximumHeight(height if self._collapsed else 16777215)
        for child in self.findChildren(QtWidgets.QWidget, options=QtCore.Qt.FindDirectChildrenOnly):
            if child is not self._title:
                if self._collapsed and child not in self.hiddenByFold:
                    self.hiddenByFold[child] = not child.isHidden()
                    child.setVisible(False)
                elif not self._collapsed and child in self.hiddenByFold:
                    child.setVisible(self.hiddenByFold.pop(child))

    text = QtCore.Property(str, lambda self: self._title.text(), _setText)
    collapsed = QtCore.Property(bool, lambda self: self._collapsed, _setCollapsed)


class ctkSliderWidget(PythonQtNames, QtWidgets.QWidget):
    """A slider with a number beside it."""

    valueChanged = QtCore.Signal(float)

    def __init__(self, parent=None):
        super().__init__(parent)
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        self._slider = QtWidgets.QSlider(QtCore.Qt.Horizontal)
        self._number = QtWidgets.QDoubleSpinBox()
        row.addWidget(self._slider)
        row.addWidget(self._number)
        self._number.valueChanged.connect(self._onNumber)
        self._slider.valueChanged.connect(lambda steps: self._number.setValue(steps * self._number.singleStep()))

    def _onNumber(self, value):
        self._slider.blockSignals(True)
        self._slider.setValue(round(value / self._number.singleStep()))
        self._slider.blockSignals(False)
        self.valueChanged.emit(value)

    def _setRange(self, low=None, high=None):
        self._number.setMinimum(self._number.minimum() if low is None else low)
        self._number.setMaximum(self._number.maximum() if high is None else high)
        self._fit()

    def _setStep(self, step):
        self._number.setSingleStep(step)
        self._fit()

    def _fit(self):
        step = self._number.singleStep()
        self._slider.setRange(round(self._number.minimum() / step), round(self._number.maximum() / step))

    value = QtCore.Property(float, lambda self: self._number.value(), lambda self, value: self._number.setValue(value))
    minimum = QtCore.Property(float, lambda self: self._number.minimum(), lambda self, v: self._setRange(low=v))
    maximum = QtCore.Property(float, lambda self: self._number.maximum(), lambda self, v: self._setRange(high=v))
    singleStep = QtCore.Property(float, lambda self: self._number.singleStep(), _setStep)
    decimals = QtCore.Property(int, lambda self: self._number.decimals(), lambda self, v: self._number.setDecimals(v))


class qMRMLWidget(PythonQtNames, QtWidgets.QWidget):
    def setMRMLScene(self, scene):
        for child in self.findChildren(qMRMLNodeComboBox):
            child.setMRMLScene(scene)


class qMRMLNodeComboBox(PythonQtNames, QtWidgets.QComboBox):
    """Chooses a volume by itself when it has none, as Slicer's does where "none" is not allowed.

    While a scene is imported its model waits; within EndImportEvent, before a later observer, it chooses the first.
    """

    currentNodeChanged = QtCore.Signal(object)

    def __init__(self, parent=None):
        super().__init__(parent)
        self.setSizeAdjustPolicy(QtWidgets.QComboBox.AdjustToMinimumContentsLengthWithIcon)
        self._scene = self._node = None
        self.activated.connect(lambda index: self.setCurrentNode(self._nodes()[index]))

    def setMRMLScene(self, scene):
        self._scene = scene
        scene.AddObserver(scene.NodeAddedEvent, self._chooseFirst)
        scene.AddObserver(scene.NodeRemovedEvent, self._chooseFirst)
        scene.AddObserver(scene.EndImportEvent, self._chooseFirst)
        self._chooseFirst()

    def currentNode(self):
        return self._node

    def setCurrentNode(self, node):
        if node is not self._node:
            self._node = node
            self._list()
            self.currentNodeChanged.emit(node)

    def _nodes(self):
        kind = "vtkMRMLScalarVolumeNode"
        return [self._scene.GetNthNodeByClass(n, kind) for n in range(self._scene.GetNumberOfNodesByClass(kind))]

    def _list(self):
        self.clear()
        self.addItems([node.GetName() or "" for node in self._nodes()])
        if self._node is not None and self._node in self._nodes():
            self.setCurrentIndex(self._nodes().index(self._node))

    def _chooseFirst(self, *_event):
        if self._scene.IsImporting():
            return
        if self._node is None or not self._scene.IsNodePresent(self._node):
            self.setCurrentNode(next(iter(self._nodes()), None))


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


WIDGETS = (
    QFrame,
    QLabel,
    QLineEdit,
    QPushButton,
    QCheckBox,
    QComboBox,
    QSpinBox,
    QProgressBar,
    QTableWidget,
    ctkCollapsibleButton,
    ctkSliderWidget,
    qMRMLWidget,
    qMRMLNodeComboBox,
)
for widget_class in WIDGETS:
    # PySide6 finds its own static ``connect`` before an inherited one, so each class needs it for itself.
    widget_class.connect = connect
