"""What the machine gives this process: cores, GPUs, memory, scratch space; no torch, no Ray."""

import ctypes
import os
import platform
import re
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path

from pipeline.executor.resources import STORE_BYTES, STORE_BYTES_A_CORE
from pipeline.maintenance.doctor.item import Item

GROUP = "machine"
# Flags of /proc/cpuinfo that the runtimes use.
FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8",
            "asimd", "bf16", "i8mm")  # fmt: skip
LOW_MEMORY = 2e9  # one detector needs up to 1.5 GB
LOW_SCRATCH = 1e9
CGROUP = Path("/sys/fs/cgroup")
CPUINFO, MEMINFO, SHARED = Path("/proc/cpuinfo"), Path("/proc/meminfo"), Path("/dev/shm")  # noqa: S108  # only looked at


def machine() -> list[Item]:
    """Return what the machine gives to this process."""
    cores = len(os.sched_getaffinity(0))
    return [_processor(), _cores(cores), _gpus(), _memory(), _scratch(), *_shared(cores)]


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _processor() -> Item:
    text = _read(CPUINFO)
    flags = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    name = re.search(r"^model name\s*:\s*(.*)$", text, re.MULTILINE)
    has = [one for one in FEATURES if flags and one in flags[1].split()]
    known = name[1] if name else platform.machine()
    return Item(GROUP, "processor", f"{known}: {', '.join(has) or 'no vector units known here'}")


def _cores(cores: int) -> Item:
    told = f"{cores} of {os.cpu_count()}"
    share, _, period = _read(CGROUP / "cpu.max").partition(" ")
    if share.isdigit() and int(share) < cores * int(period):
        return Item(GROUP, "cores", f"{told}, of which the container may use "
                    f"{int(share) / int(period):g}", "set --detect-actors and --embed-actors to "
                    "so many: by default there is one a core")  # fmt: skip
    return Item(GROUP, "cores", told)


def _gpus() -> Item:
    names = gpus()
    if not names:
        return Item(GROUP, "CUDA", "no GPU")
    built = torch_cuda()
    value = f"{', '.join(names)}; torch is built for {f'CUDA {built}' if built else 'CPUs alone'}"
    advice = "" if built else "to use the GPU, install a build of torch for CUDA"
    return Item(GROUP, "CUDA", value, advice)


def gpus() -> list[str]:
    """Return the names of the GPUs, as the driver knows them."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return []
    count, name = ctypes.c_int(), ctypes.create_string_buffer(256)
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return []
    names = []
    for index in range(count.value):
        driver.cuDeviceGetName(name, len(name), index)
        names.append(name.value.decode(errors="replace"))
    return names


def torch_cuda() -> str | None:
    """Return the CUDA that torch is built for, None for none; torch is not imported."""
    spec = find_spec("torch")
    origin = spec.origin if spec else None
    text = _read(Path(origin).with_name("version.py")) if origin else ""
    built = re.search(r"^cuda\b.*= *['\"]([\d.]+)['\"]", text, re.MULTILINE)
    return built[1] if built else None


def _memory() -> Item:
    lines = dict(re.findall(r"^(\w+):\s+(\d+) kB", _read(MEMINFO), re.MULTILINE))
    total, free = (1024 * int(lines.get(key, 0)) for key in ("MemTotal", "MemAvailable"))
    limit = _read(CGROUP / "memory.max").strip()
    value = f"{total / 1e9:.1f} GB, {free / 1e9:.1f} GB free"
    if limit.isdigit() and int(limit) < total:
        used = _read(CGROUP / "memory.current").strip()
        free = min(free, int(limit) - int(used or 0))
        value = f"{int(limit) / 1e9:.1f} GB for the container, {free / 1e9:.1f} GB free"
    advice = "a detector needs up to 1.5 GB: --detect-actors 1" if free < LOW_MEMORY else ""
    return Item(GROUP, "memory", value, advice)


def _scratch() -> Item:
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    value = f"{folder}, {free / 1e9:.1f} GB free"
    advice = "set TMPDIR to a folder with more room" if free < LOW_SCRATCH else ""
    return Item(GROUP, "scratch", value, advice)


def _shared(cores: int) -> list[Item]:
    """Return the shared memory, that Ray keeps blocks in."""
    if not SHARED.is_dir():
        return []
    free, wanted = shutil.disk_usage(SHARED).free, STORE_BYTES + STORE_BYTES_A_CORE * cores
    advice = f"Ray keeps blocks there; more than 48 photos: give it {wanted / 1e9:.1f} GB " \
        "(docker run --shm-size)" if free < wanted else ""  # fmt: skip
    return [Item(GROUP, "shared memory", f"{free / 1e9:.1f} GB free", advice)]
