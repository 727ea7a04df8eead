"""The statistics of the rated rows as a file of a bundle: written whole, read when asked for."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from armorm.errors import BundleError
from armorm.heads.statistics import Statistics
from armorm.model.tensors import check_file

# All of it in one entry: safetensors writes several in no fixed order.
_HEADER = "armorm.statistics"


@dataclass(frozen=True, slots=True)
class StoredStatistics:
    """Statistics that lie in the folder of a bundle: at d = 4,096 about 1 GB, so not read yet."""

    path: Path
    """The file."""
    digest: str
    """SHA-256 that its bytes must have."""
    objectives: tuple[str, ...]
    """Names of axis k, as the facts of the bundle state them."""
    d: int
    """Feature width."""

    def load(self) -> Statistics:
        """Read and check the file.

        Returns:
            The statistics.

        Raises:
            BundleError: the file is missing, damaged, not safetensors, or not the statistics
                of the objectives of the bundle.
        """
        check_file(self.path, self.digest)
        try:
            with safe_open(self.path, framework="pt") as file:
                header = (file.metadata() or {})[_HEADER]
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            found = Statistics.from_state(tensors, header)
        except SafetensorError as error:
            raise BundleError(f"{self.path}: not a safetensors file: {error}") from error
        except (KeyError, ValueError, TypeError) as error:
            raise BundleError(f"{self.path}: not statistics of rated rows: {error!r}") from error
        if (found.objectives, found.d) != (self.objectives, self.d):
            raise BundleError(
                f"{self.path}: the statistics must be of the objectives {self.objectives} and "
                f"width {self.d}; they are of {found.objectives} and width {found.d}"
            )
        return found

    def copy_to(self, path: Path) -> None:
        """Copy the file into another bundle, checked.

        Args:
            path: Where to.

        Raises:
            BundleError: the file is missing, damaged or was changed since the bundle was loaded.
        """
        check_file(self.path, self.digest)
        shutil.copyfile(self.path, path)


def write_statistics(path: Path, statistics: Statistics) -> None:
    """Write statistics as tensors with their header; the same statistics give the same bytes.

    Args:
        path: The file.
        statistics: What to write.
    """
    tensors, header = statistics.state()
    kept = {name: tensor.contiguous() for name, tensor in tensors.items()}
    save_file(kept, path, metadata={_HEADER: header})
