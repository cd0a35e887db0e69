"""PyTorch through Slicer's PyTorch extension, asked for when the user clicks and never before."""

from __future__ import annotations

import importlib.util

MINIMUM_TORCH = ">=2.2"


class TorchMissing(Exception):
    """PyTorch is not there and was not installed; the message says what to do."""


class TorchInstaller:
    """Makes sure that the worker will find PyTorch."""

    def ensureTorch(self) -> None:
        """Return when PyTorch is there; ask and install it otherwise.

        Raises:
            TorchMissing: when the extension is missing, the user declined, or the installation failed.
        """
        if importlib.util.find_spec("torch") is not None:
            return
        try:
            import PyTorchUtils
        except ImportError as error:
            raise TorchMissing(
                "This needs the PyTorch extension: install it in the Extensions Manager and restart Slicer."
            ) from error
        try:
            torch = PyTorchUtils.PyTorchUtilsLogic().installTorch(
                askConfirmation=True, torchVersionRequirement=MINIMUM_TORCH
            )
        except Exception as error:
            raise TorchMissing(f"PyTorch could not be installed: {error}") from error
        if torch is None:
            raise TorchMissing("Without PyTorch nothing can be detected; it was not installed.")
