"""The networks of a detection: each weights file is read and each network built at most once, at its first need.

Importing this module loads no PyTorch; the first network does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from VertebralFractureLib.canal import CANAL
from VertebralFractureLib.compute_device import usable_device
from VertebralFractureLib.errors import WeightsDamaged
from VertebralFractureLib.fracture.members import PREFIX, choose_members
from VertebralFractureLib.options import CUDA, DetectionOptions
from VertebralFractureLib.orientation import ORIENTATION_WEIGHTS, UPRIGHT_WEIGHTS
from VertebralFractureLib.vertebrae.models import BODY_WEIGHTS, LEVEL_WEIGHTS, SURFACE_WEIGHTS, VertebraModels
from VertebralFractureLib.weights import Weights, WeightsFolder, weights_folder

if TYPE_CHECKING:
    from VertebralFractureLib.canal.network import CanalModel
    from VertebralFractureLib.fracture.scoring import FractureEnsemble
    from VertebralFractureLib.orientation.network import OrientationModel
    from VertebralFractureLib.orientation.upright_network import UprightModel

Network = TypeVar("Network")


@dataclass(frozen=True)
class Models:
    """The networks that ``DetectionOptions`` ask for; make one with ``load``, and hand it to every step.

    Attributes:
        weights: remembers what it has read and checked.
        members: names of the fracture networks, without the prefix ``fracture-``.
        wanted_device: one of ``options.DEVICES``.
    """

    weights: WeightsFolder
    members: tuple[str, ...]
    wanted_device: str
    _built: dict[tuple[str, str], Any] = field(default_factory=dict, repr=False, compare=False)
    """By name of the weights and device; shared by all that came from one another."""

    @staticmethod
    def load(options: DetectionOptions | None = None, *, before: Models | None = None) -> Models:
        """Check that the options can be met; the networks follow when they are used.

        Args:
            before: what it has loaded serves again where it came from the same folder.

        Raises:
            OptionRefused: when there is no such fracture network.
            DeviceMissing: when the graphics card that was asked for is not there.
            WeightsDamaged: when the list of the weights is missing or damaged.
        """
        options = options or DetectionOptions()
        if options.device == CUDA:
            usable_device(CUDA)
        if before is None or before.weights.path != (options.weights_folder or weights_folder()):
            weights = WeightsFolder(options.weights_folder)
            return Models(weights, choose_members(options.members, weights), options.device)
        return replace(before, members=choose_members(options.members, before.weights), wanted_device=options.device)

    def on(self, device: str) -> Models:
        """The same networks on another device; no file is read again."""
        return replace(self, wanted_device=device)

    @property
    def device(self) -> str:
        """Where the networks run: ``options.CPU`` or ``options.CUDA``."""
        return usable_device(self.wanted_device)

    def sha256(self, *, with_canal: bool) -> dict[str, str]:
        """SHA-256 of each weights file by the weights' name; all are read and checked.

        Raises:
            WeightsDamaged: when one is missing or damaged.
        """
        names = [
            *([CANAL] if with_canal else []),
            *(PREFIX + name for name in self.members),
            BODY_WEIGHTS,
            LEVEL_WEIGHTS,
            SURFACE_WEIGHTS,
            ORIENTATION_WEIGHTS,
            UPRIGHT_WEIGHTS,
        ]
        return {name: self.weights.load(name).sha256 for name in names}

    @property
    def canal(self) -> CanalModel:
        from VertebralFractureLib.canal.network import CanalModel

        return self._network(CANAL, CanalModel.from_weights)

    @property
    def orientation(self) -> OrientationModel:
        from VertebralFractureLib.orientation.network import OrientationModel

        return self._network(ORIENTATION_WEIGHTS, OrientationModel.from_weights)

    @property
    def upright(self) -> UprightModel:
        from VertebralFractureLib.orientation.upright_network import UprightModel

        return self._network(UPRIGHT_WEIGHTS, UprightModel.from_weights)

    @property
    def vertebrae(self) -> VertebraModels:
        from VertebralFractureLib.vertebrae.body_network import BodyModel
        from VertebralFractureLib.vertebrae.level_network import LevelModel
        from VertebralFractureLib.vertebrae.surface_network import SurfaceModel

        return VertebraModels(
            self._network(BODY_WEIGHTS, BodyModel.from_weights),
            self._network(LEVEL_WEIGHTS, LevelModel.from_weights),
            self._network(SURFACE_WEIGHTS, SurfaceModel.from_weights),
        )

    @property
    def fractures(self) -> FractureEnsemble:
        from VertebralFractureLib.fracture.scoring import FractureEnsemble, FractureMember

        return FractureEnsemble(
            {name: self._network(PREFIX + name, FractureMember.from_weights) for name in self.members}
        )

    def _network(self, name: str, build: Callable[[Weights, str], Network]) -> Network:
        """Build the network called ``name`` on the device, or give the one that was built there before."""
        key = (name, self.device)
        if key not in self._built:
            weights = self.weights.load(name)
            try:
                self._built[key] = build(weights, self.device)
            except (KeyError, IndexError, TypeError, ValueError, ArithmeticError) as error:
                raise WeightsDamaged(
                    f"The configuration of the weights '{name}' is damaged; install VertebralFracture again."
                ) from error
        network: Network = self._built[key]
        return network
