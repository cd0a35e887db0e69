"""Draw the panel in two sizes of type, light and dark, at one or two pixels per point, to look whether words are cut.

Run: ``python Testing/Screenshots/panel_sizes.py RESULT OUT``, with the folder of a detection; three states of the panel
are drawn eight times each into the folder OUT, which is made. Nothing of it belongs into the repository.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

FONTS_PT, SCALES = (9, 12), (1, 2)
WIDTH, STATES = 420, ("result", "sections", "empty")


def main() -> None:
    result, out = Path(sys.argv[1]), Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    for scale in SCALES:
        environment = {**os.environ, "QT_SCALE_FACTOR": str(scale), "QT_QPA_PLATFORM": "offscreen"}
        subprocess.run([sys.executable, __file__, str(result), str(out), str(scale)], env=environment, check=True)


def draw(result: Path, out: Path, scale: int) -> None:
    """All pictures at one scale, which Qt reads when it starts."""
    from panel_pictures import _settle, open_panel
    from PySide6.QtGui import QFont
    from PySide6.QtWidgets import QApplication

    from VertebralFractureLib.export.scene import load_mrb, new_scene

    application: Any = QApplication.instance() or QApplication([])
    application.setStyle("Fusion")
    scenes = {state: new_scene() if state == "empty" else load_mrb(result / "scene.mrb") for state in STATES}
    for dark in (False, True):
        application.setPalette(_palette(dark))
        for points in FONTS_PT:
            application.setFont(QFont("DejaVu Sans", points))
            for state in STATES:
                panel = open_panel(scenes[state])
                panel.ui.firstUseFrame.visible = state == "empty"
                if state == "sections":
                    panel.ui.vertebraTable.cellClicked.emit(3, 0)
                    for section in ("correct", "centerline", "display", "export", "advanced", "help"):
                        getattr(panel.ui, f"{section}Section").collapsed = False
                _settle(0.1)
                panel.parent.resize(WIDTH, panel.parent.layout().totalHeightForWidth(WIDTH))
                _settle(0.1)
                name = f"{state}-{points}pt-{'dark' if dark else 'light'}-{scale}x.png"
                panel.parent.grab().save(str(out / name))
                panel.cleanup()
                panel.parent.hide()
                panel.parent.deleteLater()


def _palette(dark: bool) -> Any:
    from PySide6.QtGui import QColor, QPalette

    palette = QPalette()
    window, base, text = ("#323232", "#232323", "#ffffff") if dark else ("#efefef", "#ffffff", "#000000")
    for role, color in (
        (QPalette.ColorRole.Window, window),
        (QPalette.ColorRole.Button, window),
        (QPalette.ColorRole.Base, base),
        (QPalette.ColorRole.AlternateBase, window),
        (QPalette.ColorRole.ToolTipBase, base),
        (QPalette.ColorRole.WindowText, text),
        (QPalette.ColorRole.ButtonText, text),
        (QPalette.ColorRole.Text, text),
        (QPalette.ColorRole.ToolTipText, text),
        (QPalette.ColorRole.PlaceholderText, "#888888"),
    ):
        palette.setColor(role, QColor(color))
    return palette


if __name__ == "__main__":
    if len(sys.argv) == 4:
        draw(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
