"""Yokogawa WT3000 and WT3000E precision power analyzers.

Sources: IM WT3001E-17EN (chapter 6: commands; chapter 7: status), IM 760301-01E p. 12-7 (accuracy, 6 months).
Over Ethernet these speak Yokogawa's protocol from before VXI-11: `wt3000://HOST`, port 10001. Not covered: motor
inputs, waveforms, lists of harmonics, further Σ groups, the USB of this generation, which is no USBTMC, and the
RS-232, of which speed and handshake are not in what is at hand. Unconfirmed and therefore settable: the influence of
the power factor on the accuracy (`power_factor_influence`).
"""

from __future__ import annotations

from typing import ClassVar

from aicalib_hw.errors import NotSupported
from aicalib_hw.interfaces import DriverInfo
from aicalib_hw.scpi.session import Link
from aicalib_hw.trace import Trace
from aicalib_hw.transport.yokogawa_legacy import YokogawaLegacyLink

from . import _wt_high_end_tables as tables
from ._wt_high_end import LARGEST_INFLUENCE, HighEndMeter

SCHEME = "wt3000"
_HARMONICS = "G6"
_OVER = 8
"""Lowest of the condition bits OVR1 to OVR4."""


class YokogawaWT3000(HighEndMeter):
    """A power analyzer of the WT3000 family; address: wt3000://HOST[:PORT], or a VISA resource name.

    user, password: for the instrument's own Ethernet protocol.
    """

    FAMILY: ClassVar[tables.Family] = tables.WT3000

    DRIVER: ClassVar[DriverInfo] = DriverInfo(
        name="yokogawa-wt3000",
        role="power_meter",
        summary="Yokogawa WT3000, WT3000E precision power analyzers",
        manual="IM WT3001E-17EN, IM 760301-01E",
        schemes=(SCHEME,),
        models=((r"YOKOGAWA", r"WT300\dE?(-\S+)?"),),
        wires=("Yokogawa legacy Ethernet", "GPIB"),
        simulator="yokogawa-wt3000",
    )

    def __init__(
        self,
        address: str,
        *,
        user: str = "anonymous",
        password: str = "",
        timeout: float = 5.0,
        trace: Trace | None = None,
        visa_library: str = "@py",
        baud_rate: int | None = None,
        line_filter_cutoff: str = "500HZ",
        power_factor_influence: float = LARGEST_INFLUENCE,
        link: Link | None = None,
    ) -> None:
        if link is None and address.startswith(f"{SCHEME}://"):
            link = YokogawaLegacyLink(address, user=user, password=password, timeout=timeout, trace=trace)
        super().__init__(
            address,
            timeout=timeout,
            trace=trace,
            visa_library=visa_library,
            baud_rate=baud_rate,
            line_filter_cutoff=line_filter_cutoff,
            power_factor_influence=power_factor_influence,
            link=link,
        )

    def _require_harmonics(self) -> None:
        options = self.session.query("*OPT?").upper().split(",")
        if _HARMONICS not in options:
            raise NotSupported(
                f"{self.identity} measures no harmonics",
                where=self.address,
                why=f"its options are {', '.join(options)}, and harmonics need {_HARMONICS}",
            )

    def _over(self, condition: int) -> int:
        return condition >> _OVER & 0b1111
