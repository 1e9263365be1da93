"""Facts about the machine, read from files: no runtime is needed, and none is started."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
import mmap
import os
from pathlib import Path
import re

from vlm_npu_ros.engine.backends.rknpu.settings import RknpuSettings

# Another tree to look at instead of this system's, for tests and pictures of boards.
SYSROOT_VARIABLE = 'VLM_NPU_SYSROOT'
LIBRKNNRT = 'usr/lib/librknnrt.so'  # the only place where RKNNLite looks
_LIBRKNNRT_ELSEWHERE = (
    'usr/local/lib/librknnrt.so', 'usr/lib/aarch64-linux-gnu/librknnrt.so', 'lib64/librknnrt.so'
)
_DRIVER_FILES = (
    'sys/kernel/debug/rknpu/version', 'proc/rknpu/version', 'sys/module/rknpu/version'
)
_VERSION = re.compile(r'(\d+\.\d+\.\d+)')


@dataclass(frozen=True)
class Platform:
    """
    What the backend needs to know of a chip.

    npu_cores: of one NPU. base_domain_id: the address space that leaves room for the encoder,
        which always takes 0. fast_cpus: bit 0 = CPU 0.
    """

    npu_cores: int
    base_domain_id: int
    fast_cpus: int


# Rockchip's demos: domain 1 on the chips with a large NPU, the big cores where there are such.
PLATFORMS = {
    'rk3588': Platform(3, 1, 0xF0),
    'rk3576': Platform(2, 1, 0xF0),
    'rk3562': Platform(1, 0, 0x0F),
    'rv1126b': Platform(1, 0, 0x0F),
}


class Board:
    """
    A machine as the files below a root show it.

    Each property is None, or empty, where the machine does not tell.
    """

    def __init__(self, root: Path | None = None) -> None:
        """Look at another machine's tree; without one at this machine ($VLM_NPU_SYSROOT or /)."""
        self.is_foreign = root is not None
        self.root = root or Path(os.environ.get(SYSROOT_VARIABLE) or '/')

    def path(self, path: str) -> Path:
        """Return where a file of that machine is."""
        return self.root / path.lstrip('/') if self.is_foreign else Path(path)

    @property
    def soc(self) -> str | None:
        """Return the chip, as .rknn files call it: rk3588 also for the rk3588s."""
        found = re.findall(r'rockchip,(r[kv]\d{4}b?)', self._text('proc/device-tree/compatible'))
        return found[-1] if found else None

    @property
    def model(self) -> str:
        """Return the name of the board."""
        return self._text('proc/device-tree/model').strip('\0 \n')

    @property
    def driver(self) -> str | None:
        """Return the version of the NPU driver."""
        versions = (_VERSION.search(self._text(name)) for name in _DRIVER_FILES)
        return next((found[1] for found in versions if found), None)

    @property
    def librknnrt(self) -> str | None:
        """Return the version of librknnrt.so, '' if it has none; None if there is no file."""
        path = self.root / LIBRKNNRT
        try:
            with open(path, 'rb') as file, mmap.mmap(
                file.fileno(), 0, access=mmap.ACCESS_READ
            ) as data:
                found = re.search(rb'librknnrt version: (\S+)', data)
                return found[1].decode() if found else ''
        except (OSError, ValueError):
            return '' if path.is_file() else None

    @property
    def librknnrt_elsewhere(self) -> list[Path]:
        """Return the places where librknnrt.so is of no use."""
        return [self.root / p for p in _LIBRKNNRT_ELSEWHERE if (self.root / p).is_file()]

    @property
    def available_memory(self) -> int | None:
        """Return the bytes that programs can still have."""
        found = re.search(r'MemAvailable:\s+(\d+) kB', self._text('proc/meminfo'))
        return int(found[1]) * 1024 if found else None

    @property
    def governors(self) -> dict[str, str]:
        """Return what rules the clocks of each group of CPUs, of the NPU and of the memory."""
        files = {
            f'CPU {path.parent.name.removeprefix("policy")}': path
            for path in self._glob('sys/devices/system/cpu/cpufreq', 'policy*/scaling_governor')
        }
        for name, pattern in (('NPU', '*npu*/governor'), ('memory', '*dmc*/governor')):
            files.update((name, path) for path in self._glob('sys/class/devfreq', pattern))
        return {name: path.read_text().strip() for name, path in files.items()}

    @property
    def devices(self) -> list[Path]:
        """Return the device files that lead to the NPU."""
        return [
            *self._glob('dev/dri', 'renderD*'), *self._glob('dev', 'rknpu'),
            *self._glob('dev/dma_heap', '*'),
        ]

    @property
    def python_packages(self) -> list[Path]:
        """Return the folders of Python packages of that machine."""
        return [
            *self._glob('usr', 'lib/python3*/dist-packages'),
            *self._glob('usr/local', 'lib/python3*/dist-packages'),
            *self._glob('opt', '*/lib/python3*/site-packages'),
        ]

    def complete(self, settings: RknpuSettings) -> RknpuSettings:
        """Return the settings with this platform's values where they leave the choice."""
        platform = PLATFORMS.get(self.soc or '', PLATFORMS['rk3588'])
        domain, mask = settings.base_domain_id, settings.cpu_mask
        return replace(
            settings,
            base_domain_id=platform.base_domain_id if domain < 0 else domain,
            cpu_mask=mask or platform.fast_cpus,
        )

    def _text(self, name: str) -> str:
        try:
            return (self.root / name).read_text(errors='replace')
        except OSError:
            return ''

    def _glob(self, folder: str, pattern: str) -> Iterator[Path]:
        yield from sorted((self.root / folder).glob(pattern))
