"""The lower part of the panel: one result with everything that can be done to it, each in a section of its own file.

A further section is made in the constructor and gets the result in ``_showResult``, like the others.
"""

from __future__ import annotations

from typing import Any

import qt

from VertebralFractureLib.export.scene import SceneNodes
from VertebralFractureLib.export.scene.show_report import DisplayCriteria
from VertebralFractureLib.result import EVALUABLE, SpineReport
from VertebralFractureLib.result.lookup import vertebra_at
from VertebralFractureLib.result.words import write_impression
from VertebralFractureLib.types import Point
from VertebralFracturePanel.correct.centerline_section import CenterlineSection
from VertebralFracturePanel.correct.correct_section import CorrectSection
from VertebralFracturePanel.correct.landmark_section import LandmarkSection
from VertebralFracturePanel.correct.reader_vertebrae import ReaderVertebrae
from VertebralFracturePanel.detect.advanced_section import AdvancedSection
from VertebralFracturePanel.documentation import READING, pageAddress
from VertebralFracturePanel.export.export_section import ExportSection
from VertebralFracturePanel.read.criteria_section import CriteriaSection
from VertebralFracturePanel.read.display_section import DisplaySection
from VertebralFracturePanel.read.followed_vertebra import FollowedVertebra
from VertebralFracturePanel.read.results_table import hoverText, setUpTable, showReport
from VertebralFracturePanel.read.side_by_side import SideBySide
from VertebralFracturePanel.read.vertebra_walk import VertebraWalk
from VertebralFracturePanel.shown_result import ShownResult, ShownResults


class ResultsView:
    """Shows the scene's results. ``result`` and ``report`` (as it is being read) are None where there is none."""

    def __init__(self, ui: Any, logic: Any) -> None:
        self.nodes: SceneNodes | None = None
        self.result: ShownResult | None = None
        self.report: SpineReport | None = None
        self.shownResults = ShownResults()
        self._ui = ui
        self._logic = logic
        self._results: list[SceneNodes] = []
        self._tableContent: Any = None
        setUpTable(ui.vertebraTable)
        self.criteriaSection = CriteriaSection(ui)
        self.correctSection = CorrectSection(ui)
        self.landmarkSection = LandmarkSection(ui, self.correctSection.edit)
        self.readerVertebrae = ReaderVertebrae(ui, self.correctSection.edit, logic.session, logic.optionsOf)
        self.centerlineSection = CenterlineSection(ui, logic.session, logic.optionsOf)
        self.displaySection = DisplaySection(ui)
        self.exportSection = ExportSection(ui)
        self.advancedSection = AdvancedSection(ui)
        self.followedVertebra = FollowedVertebra(ui, logic)
        self.vertebraWalk = VertebraWalk(ui, self.followedVertebra)
        self.sideBySide = SideBySide()
        ui.resultSelector.connect("currentIndexChanged(int)", self._onResultChosen)
        ui.howToReadButton.connect("clicked(bool)", self._onHowToRead)
        ui.sideBySideButton.connect("toggled(bool)", self._onSideBySide)
        self.criteriaSection.changed.connect(self._onCriteriaChanged)
        self.shownResults.changed.connect(self._onChanged)
        self.landmarkSection.previewed.connect(self._fillTable)
        self.readerVertebrae.added.connect(self._onVertebraAdded)
        self.correctSection.divided.connect(lambda: self.readerVertebrae.measure(self.result))
        self.vertebraWalk.chosen.connect(self._onVertebraChosen)
        self.vertebraWalk.damaged.connect(self._onPointsDamaged)

    def show(self, results: list[SceneNodes]) -> None:
        """Show the one of ``results`` (newest first) that the user chose, else the newest."""
        self._results = results
        chosen = self._logic.parameters.resultTable
        self._showResult(next((nodes for nodes in results if nodes.table is chosen), next(iter(results), None)))
        self._showSelector()

    def leaveModule(self) -> None:
        """The user looks elsewhere: layout and views become theirs again."""
        self.landmarkSection.leave()
        self.readerVertebrae.leave()
        self.centerlineSection.leave()
        self._ui.sideBySideButton.checked = False
        self.followedVertebra.leave()

    def forgetScene(self) -> None:
        """The scene is being closed: nothing in it is touched any more."""
        self.followedVertebra.leave()
        self.sideBySide.forget()
        self._ui.sideBySideButton.checked = False
        self.exportSection.forget()
        self.correctSection.forget()
        self.landmarkSection.forget()
        self.readerVertebrae.leave()
        self.centerlineSection.forget()
        self.shownResults.forget()
        self.show([])

    def cleanup(self) -> None:
        self.leaveModule()
        self.centerlineSection.cleanup()
        self.exportSection.cleanup()
        self.vertebraWalk.leave()

    def _showResult(self, nodes: SceneNodes | None) -> None:
        result = shown = None
        impression = "No result for this volume yet."
        try:
            if nodes is not None:
                result = self.shownResults.of(nodes)
                shown = result.shown
                impression = write_impression(shown)
        except (ValueError, KeyError, TypeError) as error:
            result = shown = nodes = None
            impression = f"This result cannot be shown: {error}"
        # As they are now: a node that goes must be known as one of these although the scene has lost it.
        self.nodes = None if result is None else result.nodes
        self.result, self.report = result, shown
        self._ui.impressionLabel.text = impression
        hasVertebrae = shown is not None and bool(shown.vertebrae)
        for part in (
            self._ui.vertebraTable,
            self._ui.howToReadButton,
            self._ui.previousButton,
            self._ui.nextButton,
            self._ui.criteriaSection,
        ):
            part.visible = hasVertebrae
        # Without vertebrae too: the last one may have been removed by mistake.
        self._ui.correctSection.visible = shown is not None
        self._ui.displaySection.visible = nodes is not None
        self._fillTable(shown)
        self.criteriaSection.show(result)
        self.displaySection.show(nodes)
        self.exportSection.show(nodes, shown)
        self.advancedSection.showResult(nodes, shown)
        self.vertebraWalk.show(nodes, shown, self._logic.parameters.chosenVertebra if nodes is not None else None)
        self._showCorrectSection()
        self._showSideBySide()
        self.centerlineSection.show(result)

    def _fillTable(self, shown: SpineReport | None) -> None:
        """Nothing is done where the table shows these vertebrae already."""
        content = None if shown is None else (shown.vertebrae, shown.scan.decision_threshold)
        if content != self._tableContent:
            self._tableContent = content
            showReport(self._ui.vertebraTable, shown)

    def _showCorrectSection(self) -> None:
        chosen = self._logic.parameters.chosenVertebra
        self._showDetails(chosen)
        self.correctSection.show(self.result, chosen)
        self.landmarkSection.show(self.result, chosen)
        self.readerVertebrae.show(self.nodes, self.report is not None and self.report.status == EVALUABLE)

    def _showDetails(self, chosen: int | None) -> None:
        """What hovering over the row of the chosen vertebra says, for whoever came there by a key."""
        vertebrae = () if self.report is None else self.report.vertebrae
        words = ""
        if chosen is not None and chosen < len(vertebrae):
            words = hoverText(vertebrae[chosen], self.report.scan.decision_threshold)
        self._ui.detailLabel.text = words
        self._ui.detailLabel.visible = bool(words)

    def _showSideBySide(self) -> None:
        hasStraight = self.nodes is not None and self.nodes.straightened is not None
        self._ui.sideBySideButton.enabled = hasStraight
        if not hasStraight:
            self._ui.sideBySideButton.checked = False
        elif self._ui.sideBySideButton.checked:
            self.sideBySide.enter(self.nodes)

    def _showSelector(self) -> None:
        """Only where there is something to choose."""
        selector = self._ui.resultSelector
        selector.blockSignals(True)
        selector.clear()
        for nodes in self._results:
            when = (nodes.table.GetAttribute("VertebralFracture.writtenAt") or "").replace("T", " ")[:19]
            selector.addItem(f"{nodes.table.GetName()}, {when} UTC")
        if self.nodes is not None:
            selector.setCurrentIndex([nodes.table for nodes in self._results].index(self.nodes.table))
        selector.visible = len(self._results) > 1
        selector.blockSignals(False)

    def _onHowToRead(self, _checked: bool = False) -> None:
        address = pageAddress(READING)
        if address:
            qt.QDesktopServices.openUrl(qt.QUrl(address))
        else:
            self._ui.helpSection.collapsed = False

    def _onResultChosen(self, index: int) -> None:
        if 0 <= index < len(self._results):
            self._logic.parameters.resultTable = self._results[index].table
            self._logic.parameters.chosenVertebra = None
            self._showResult(self._results[index])

    def _onCriteriaChanged(self, criteria: DisplayCriteria) -> None:
        if self.result is not None:
            self.result.setCriteria(criteria)
            self._logic.parameters.threshold, self._logic.parameters.rule = criteria.threshold, criteria.rule
            self.show(self._logic.results(self.nodes.input_volume))

    def _onVertebraChosen(self, index: int | None) -> None:
        self._logic.parameters.chosenVertebra = index
        self._showCorrectSection()

    def _onChanged(self) -> None:
        """The chosen vertebra stays the chosen one, also where others were added or removed before it."""
        if self.result is None:
            return
        parameters = self._logic.parameters
        index, vertebrae = parameters.chosenVertebra, () if self.report is None else self.report.vertebrae
        former = vertebrae[index].center_ras if index is not None and index < len(vertebrae) else None
        now = self.result.shown.vertebrae
        parameters.chosenVertebra = None if former is None else vertebra_at(now, former)
        self.show(self._logic.results(self.nodes.input_volume))
        self.centerlineSection.follow()

    def _onVertebraAdded(self, point: Point) -> None:
        """It becomes the chosen one; no view moves, because the user looks at it already."""
        self._logic.parameters.chosenVertebra = vertebra_at(self.report.vertebrae, point)
        self.show(self._logic.results(self.nodes.input_volume))
        self.readerVertebrae.measure(self.result)

    def _onPointsDamaged(self) -> None:
        """What the user deleted comes back, and the chosen one among it stands out again."""
        if self.result is not None:
            self.result.showAgain()
            self.vertebraWalk.show(self.nodes, self.report, self._logic.parameters.chosenVertebra)

    def _onSideBySide(self, isWanted: bool) -> None:
        if not isWanted:
            self.sideBySide.leave()
            self.followedVertebra.turn()
        elif self.nodes is not None:
            self.sideBySide.enter(self.nodes)
            self.centerlineSection.editedCurve.refresh()
            if self._logic.parameters.chosenVertebra is not None:
                self.vertebraWalk.choose(self._logic.parameters.chosenVertebra)
