"""Runs on this machine: each a process of its own, one idle GPU each or as the cores allow."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.campaigns import slots
from harness.campaigns.command import command_of
from harness.campaigns.faults import Ended, Try
from harness.campaigns.offer import Offer
from harness.campaigns.runner import POLL_SECONDS, STOP_SECONDS, Runner

if TYPE_CHECKING:
    import argparse

    from harness.campaigns.plan import CampaignPlan
    from harness.engines.base import Limits
    from harness.entries.campaign_grid import Cell
    from harness.running.request import Request


class ThisMachine:
    """The machine that the campaign was started on.

    Args:
        options: the campaign's.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options

    def offer(self, limits: Limits) -> Offer:
        """Its idle GPUs, or its cores; see `offer.OffersRuns`."""
        from harness.engines import choose_engine
        from harness.running.isolating import isolation_lacking
        from harness.running.request import device_kind

        engine = choose_engine(self._options.engine)
        engine.check()
        devices = slots.slots(self._options.device, self._options.jobs, limits.threads)
        lacking = ""
        if self._options.action == "plan":  # each run tells it of itself
            lacking = isolation_lacking(engine, limits)
        return Offer(engine, device_kind(devices[0]), tuple(devices), lacking)

    def check(self, requests: Sequence[Request]) -> None:
        """Raise `WeightsMissing` for the first run whose pretrained files are not there."""
        from harness.entries.weights import default_weights_folder, require_for

        weights = self._options.weights or default_weights_folder()
        for request in requests:
            require_for(request.entry.table, request.settings.params, weights)

    def runs(self, plan: CampaignPlan, cells: Sequence[Cell]) -> Iterator[Ended]:
        """Every cell once; yields each as it ends."""
        runner = LocalRunner(
            lambda cell, device: command_of(cell, device, plan, self._options).arguments(),
            plan.slots,
            plan.logs,
        )
        return runner.run(cells)


class LocalRunner(Runner):
    """Each run is a process; the slots are devices.

    Args:
        command: the arguments of `harness.evaluate` for a cell and a device.
        slots: devices, one run at a time on each.
        logs: folder of the logs.
    """

    def __init__(
        self, command: Callable[[Cell, str], Sequence[str]], slots: Sequence[str], logs: Path
    ) -> None:
        super().__init__(slots, logs)
        self._command = command

    def may_start(self, slot: str) -> bool:
        """Whether nobody else uses the GPU."""
        return slots.is_free(slot)

    def once(self, cell: Cell, slot: str, log: Path) -> Try:
        """One process; its end is awaited, also when the campaign is stopped."""
        began = time.monotonic()
        arguments = [sys.executable, "-m", "harness.campaigns.one_run"]
        with (
            log.open("ab") as stream,
            subprocess.Popen(
                [*arguments, *self._command(cell, slot)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=stream,
                start_new_session=True,  # Ctrl-C is the campaign's: it ends its runs itself
            ) as process,
        ):
            while process.poll() is None and not self._stop.wait(POLL_SECONDS):
                pass
            if process.stdin is not None:
                process.stdin.close()
            try:
                code = process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                code = process.wait()
        return Try(code, time.monotonic() - began)
