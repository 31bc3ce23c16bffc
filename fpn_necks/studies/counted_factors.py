"""Which α a training counted, told with the result of the test."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from fpn_necks.layers import StatisticFusionFactor

PREFIX = "fusion_factor/"


class CountedFactors(Hook):
    """Adds the α of statistic fusion factors to the metrics of the test.

    One entry per connection, ``fusion_factor/0`` for the one of highest resolution.
    """

    priority = "HIGH"

    def after_test_epoch(
        self, runner: Runner, metrics: dict[str, Any] | None = None
    ) -> None:
        """Add the entries to what is logged of the test."""
        for module in runner.model.modules():
            if isinstance(module, StatisticFusionFactor):
                for connection, alpha in enumerate(module.alpha.tolist()):
                    key = f"test/{PREFIX}{connection}"
                    runner.message_hub.update_scalar(key, round(alpha, 4))
