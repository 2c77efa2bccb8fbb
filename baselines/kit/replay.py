"""A step of fixed shapes, launched at once: captured in a CUDA graph on a GPU, called on a CPU.

For steps of so little arithmetic that a GPU waits for each kernel's launch (CFLOW's: 64 vectors at
a time). Source: PyTorch's notes on CUDA semantics, section "CUDA Graphs". Traps: a replay runs what
was launched at the capture, on the tensors of then; Python is not run again. So the step reads what
it needs from tensors that the caller fills in place, overwrites whatever it leaves, never waits
for the device (`.item()`, a copy to the CPU, a mask as an index), and draws no random number.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

# Before a capture, so that libraries have their handles and workspaces (PyTorch's notes say 3).
WARM_UP = 3


class Replayed:
    """Calls a step, by one launch where the device is a GPU.

    Args:
        step: takes and returns nothing, and may be run any number of times over the same inputs
            with the same outcome: the first call runs it several times.
        device: where all its tensors lie.
    """

    def __init__(self, step: Callable[[], None], device: torch.device) -> None:
        self._step, self._device = step, device
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self) -> None:
        """Have the step done, or on its way on the current stream."""
        if self._device.type != "cuda":
            self._step()
            return
        if self._graph is None:
            self._graph = self._captured()
        self._graph.replay()

    def _captured(self) -> torch.cuda.CUDAGraph:
        aside = torch.cuda.Stream(self._device)
        aside.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP):
                self._step()
        torch.cuda.current_stream(self._device).wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._step()
        return graph
