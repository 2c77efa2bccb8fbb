"""How many training images an entry wants for what it estimates, and what is told where they lack.

A method that fits a covariance or another large table to a small training split answers all the
same, and nothing in its numbers says why they are low. So a folder may declare
`[entry.images_wanted]`, and a run with fewer images is told of and marks its row.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field

from harness.common.foreign_text import one_line
from harness.records.record import Parameter

MAX_TEXT = 300  # characters of the entry's own words


class ImagesWanted(BaseModel):
    """`[entry.images_wanted]`: so many training images for each of something that a parameter counts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    times: int = Field(gt=0)
    """Images wanted for each."""
    unit: str
    """What is counted, as one of it is called (`channel`)."""
    per: tuple[str, ...] = Field(min_length=1)
    """The parameter that counts it: the first of these that there is. `{backbone}` in it stands
    for the value of the parameter `backbone`."""
    otherwise: str
    """What fewer images lead to."""

    def shortage(self, images: int, params: Mapping[str, Parameter]) -> str | None:
        """What to tell of a training on so many images; None where they are enough.

        Args:
            images: in the training split.
            params: as the run was sent them.
        """
        count = self._counted(params)
        if count is None or images >= self.times * count:
            return None
        unit = one_line(self.unit, MAX_TEXT)
        return (
            f"{images} training images for {count} {unit}s, fewer than {self.times} for each:"
            f" {one_line(self.otherwise, MAX_TEXT)}"
        )

    def _counted(self, params: Mapping[str, Parameter]) -> int | None:
        """The parameter's value; None where the entry has none of these, or it is no number."""
        backbone = str(params.get("backbone", ""))
        for name in self.per:
            value = params.get(name.replace("{backbone}", backbone))
            if isinstance(value, int) and not isinstance(value, bool):
                return value
        return None
