"""What a caller can hand to the metrics that they cannot score.

MetricsInputError         of harness.common.errors.HarnessError
├── NonFinite             a score or a map holds NaN or infinity
├── WrongShape            a map or mask has another height or width than its image
├── WrongDtype            not float16 or float32, or not the dtype of the run's first map
├── WrongKey              the ground truth does not know the image, or it came twice
├── MapMissing            an image came without a map where maps are scored
├── ImagesMissing         finish() before every image was given
└── TruthMismatch         evidence, shard or file belongs to another ground truth
"""

from __future__ import annotations

from harness.common.errors import HarnessError


class MetricsInputError(HarnessError):
    """Something given to the metrics is not what they can score."""


class NonFinite(MetricsInputError):
    """A score or a map holds NaN or infinity."""


class WrongShape(MetricsInputError):
    """A map or a mask does not have its image's height and width."""


class WrongDtype(MetricsInputError):
    """A map is neither float16 nor float32, or not of the run's own dtype."""


class WrongKey(MetricsInputError):
    """The ground truth does not know the image or split, or the image was given before."""


class MapMissing(MetricsInputError):
    """An image was given without a map in a run that is scored by maps."""


class ImagesMissing(MetricsInputError):
    """The run was to be scored before every image of every split was given."""


class TruthMismatch(MetricsInputError):
    """Evidence, a shard or a stored file belongs to another ground truth or format."""
