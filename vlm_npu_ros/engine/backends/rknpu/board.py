# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Facts about the machine, read from files without any runtime."""

from __future__ import annotations

from dataclasses import dataclass, replace
import mmap
import os
from pathlib import Path
import re

from vlm_npu_ros.engine.backends.rknpu.settings import RknpuSettings

# Another tree to look at instead of this system's, for tests and copies of boards.
SYSROOT_VARIABLE = 'VLM_NPU_SYSROOT'
LIBRKNNRT = 'usr/lib/librknnrt.so'  # the only place where RKNNLite looks
_LIBRKNNRT_ELSEWHERE = (
    'usr/lib/aarch64-linux-gnu/librknnrt.so', 'usr/local/lib/librknnrt.so',
    'lib64/librknnrt.so', 'usr/lib64/librknnrt.so', 'vendor/lib64/librknnrt.so',
)
_DRIVER_FILES = (
    'sys/kernel/debug/rknpu/version', 'proc/rknpu/version', 'sys/module/rknpu/version'
)
_VERSION = re.compile(r'(\d+\.\d+\.\d+)')


@dataclass(frozen=True)
class Platform:
    """
    What the backend needs to know about a chip.

    base_domain_id: the address space of the language model; the encoder always
        takes 0. fast_cpus: bit 0 = CPU 0. npu_cores: of which a model may use all.
    """

    base_domain_id: int
    fast_cpus: int
    npu_cores: int


# As in Rockchip's demos: domain 1 on the chips with a large NPU, and big cores if there are any.
PLATFORMS = {
    'rk3588': Platform(1, 0xF0, 3),
    'rk3576': Platform(1, 0xF0, 2),
    'rk3562': Platform(0, 0x0F, 1),
    'rv1126b': Platform(0, 0x0F, 1),
}


@dataclass(frozen=True)
class Clock:
    """A clock: its governor, and its frequencies in MHz; 0 where the machine does not tell."""

    governor: str
    current: int
    highest: int

    @property
    def is_fixed(self) -> bool:
        """Whether it stays near its highest frequency."""
        # Rockchip's scripts choose userspace, on some chips one step below the highest.
        return self.governor == 'performance' or (
            self.governor == 'userspace' and self.current >= 0.9 * self.highest
        )


class Board:
    """
    A machine as the files below a root directory show it.

    Properties are read anew each time, and None or empty where the machine does not tell.
    """

    def __init__(self, root: Path | None = None) -> None:
        """Look at another machine's tree, or by default at this one ($VLM_NPU_SYSROOT or /)."""
        self.is_foreign = root is not None
        self.root = root or Path(os.environ.get(SYSROOT_VARIABLE) or '/')

    def path(self, path: str) -> Path:
        """Find a file of that machine here; a relative path belongs to this machine."""
        if self.is_foreign and path.startswith('/'):
            return self.root / path.lstrip('/')
        return Path(path)

    @property
    def soc(self) -> str | None:
        """Chip, as .rknn files call it: rk3588 also for the rk3588s."""
        found = re.findall(r'rockchip,(r[kv]\d{4}b?)', self._text('proc/device-tree/compatible'))
        return found[-1] if found else None

    @property
    def model(self) -> str:
        return self._text('proc/device-tree/model').strip('\0 \n')

    @property
    def driver(self) -> str | None:
        versions = (_VERSION.search(self._text(name)) for name in _DRIVER_FILES)
        return next((found[1] for found in versions if found), None)

    @property
    def has_rknpu(self) -> bool:
        """Whether there is a trace of the vendor's NPU driver, which the runtimes need."""
        return self.driver is not None or self._has(
            'sys/kernel/debug/rknpu', 'sys/module/rknpu', 'sys/bus/platform/drivers/RKNPU'
        )

    @property
    def rocket(self) -> Path | None:
        """Find a trace of the mainline kernel's NPU driver, which only Mesa can use."""
        traces = [
            self.root / 'sys/bus/platform/drivers/rocket', self.root / 'sys/module/rocket',
            *self._glob('dev/accel', 'accel*'),
        ]
        return next((path for path in reversed(traces) if os.path.lexists(path)), None)

    @property
    def lacks_driver(self) -> bool:
        """Whether it is certain that the kernel has no driver that the runtimes can use."""
        return not self.has_rknpu and bool(self.rocket or self.linked_device)

    @property
    def linked_device(self) -> Path | None:
        """Find the device file /dev/rknpu if it is only a link to something else."""
        path = self.root / 'dev/rknpu'
        return path if path.is_symlink() else None

    @property
    def hides_driver(self) -> bool:
        """Whether this user may not read the version of the driver."""
        try:
            (self.root / _DRIVER_FILES[0]).stat()
        except OSError as error:
            return isinstance(error, PermissionError)
        return False

    @property
    def kernel(self) -> str:
        return self._text('proc/sys/kernel/osrelease').strip()

    @property
    def librknnrt(self) -> str | None:
        """Version of RKNNLite's librknnrt.so: '' if it does not say, None if it is not there."""
        return librknnrt_version(self.root / LIBRKNNRT)

    @property
    def librknnrt_elsewhere(self) -> list[Path]:
        """Paths of librknnrt.so where RKNNLite does not look."""
        return [self.root / p for p in _LIBRKNNRT_ELSEWHERE if os.path.isfile(self.root / p)]

    @property
    def librknnrt_path(self) -> Path | None:
        """Path of librknnrt.so for a program that may load it from anywhere."""
        own = os.environ.get('LD_LIBRARY_PATH', '') if self.root == Path('/') else ''
        places = [Path(folder) / 'librknnrt.so' for folder in own.split(':') if folder]
        found = [path for path in (*places, self.root / LIBRKNNRT) if os.path.isfile(path)]
        return next(iter([*found, *self.librknnrt_elsewhere]), None)

    @property
    def available_memory(self) -> int | None:
        """Memory that programs can still allocate, in bytes."""
        return self._memory('MemAvailable')

    @property
    def total_memory(self) -> int | None:
        """All memory that the kernel manages, in bytes."""
        return self._memory('MemTotal')

    @property
    def clocks(self) -> dict[str, Clock]:
        """Clocks of each group of CPUs, of the NPU and of the memory."""
        clocks = {}
        for folder in self._glob('sys/devices/system/cpu/cpufreq', 'policy*'):
            clocks[f'CPU {folder.name.removeprefix("policy")}'] = Clock(
                self._text(folder / 'scaling_governor').strip(),
                self._highest(folder / 'scaling_cur_freq', 1000),
                self._highest(folder / 'cpuinfo_max_freq', 1000),
            )
        for name, pattern in (('NPU', '*npu*'), ('memory', '*dmc*')):
            for folder in self._glob('sys/class/devfreq', pattern):
                clocks[name] = Clock(
                    self._text(folder / 'governor').strip(),
                    self._highest(folder / 'cur_freq', 1_000_000),
                    self._highest(folder / 'available_frequencies', 1_000_000),
                )
        return {name: clock for name, clock in clocks.items() if clock.governor}

    @property
    def npu_load(self) -> str:
        """How busy the NPU's cores are, in the driver's words; only root can see it."""
        return self._text('sys/kernel/debug/rknpu/load').strip().removeprefix('NPU load:').strip()

    @property
    def figures(self) -> dict[str, str]:
        """Clocks, load and free memory at this moment, by names for people."""
        figures = {f'{name} clock, MHz': str(c.current) for name, c in self.clocks.items()}
        if self.npu_load:
            figures['NPU load'] = self.npu_load
        if self.available_memory is not None:
            figures['free memory, MiB'] = str(self.available_memory >> 20)
        return figures

    @property
    def npu_devices(self) -> list[Path]:
        """Device files, one of which is the NPU; the GPU's may be among them."""
        own = [] if self.linked_device else self._glob('dev', 'rknpu')
        return [*self._glob('dev/dri', 'renderD*'), *own]

    @property
    def dma_heaps(self) -> list[Path]:
        """Device files that allocate memory for devices."""
        return self._glob('dev/dma_heap', '*')

    @property
    def python_packages(self) -> list[Path]:
        """Folders of Python packages of that machine."""
        debian = 'lib/python3*/dist-packages'
        places = (('usr', debian), ('usr/local', debian), ('opt', '*/lib/python3*/site-packages'))
        return [path for place in places for path in self._glob(*place)]

    @property
    def rknnlite(self) -> str | None:
        """Version of rknn-toolkit-lite2 on that machine: '' if not told, None if not there."""
        found = None
        for folder in self.python_packages:
            for path in (folder / 'rknnlite', *folder.glob('rknn_toolkit_lite2-*.dist-info')):
                if path.is_dir():
                    version = _VERSION.search(path.name)
                    found = version[1] if version else found or ''
        return found

    def complete(self, settings: RknpuSettings) -> RknpuSettings:
        """Fill in this platform's values where the settings leave the choice."""
        platform = PLATFORMS.get(self.soc or '', PLATFORMS['rk3588'])
        domain, mask = settings.base_domain_id, settings.cpu_mask or platform.fast_cpus
        domain = platform.base_domain_id if domain < 0 else domain
        return replace(settings, base_domain_id=domain, cpu_mask=mask)

    def _memory(self, name: str) -> int | None:
        found = re.search(rf'{name}:\s+(\d+) kB', self._text('proc/meminfo'))
        return int(found[1]) * 1024 if found else None

    def _highest(self, name: Path, per_mhz: int) -> int:
        """Find the highest number in a file and convert it to MHz; 0 if there is no number."""
        numbers = map(int, re.findall(r'\d+', self._text(name)))
        return max(numbers, default=0) // per_mhz

    def _has(self, *names: str) -> bool:
        return any(os.path.lexists(self.root / name) for name in names)

    def _text(self, name: str | Path) -> str:
        try:
            return (self.root / name).read_text(errors='replace')
        except OSError:
            return ''

    def _glob(self, folder: str, pattern: str) -> list[Path]:
        return sorted((self.root / folder).glob(pattern))


def librknnrt_version(path: Path) -> str | None:
    """Read the version in a librknnrt.so: '' if it does not say, None if there is no such file."""
    try:
        with open(path, 'rb') as file, mmap.mmap(
            file.fileno(), 0, access=mmap.ACCESS_READ
        ) as data:
            found = re.search(rb'librknnrt version: (\S+)', data)
            return found[1].decode() if found else ''
    except (OSError, ValueError):
        return '' if os.path.isfile(path) else None  # unlike Path.is_file, never an error
