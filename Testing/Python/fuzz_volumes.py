"""Read thousands of files that lie, and count what came of it: ``python Testing/Python/fuzz_volumes.py``.

Each case is read in a forked process with a time and a memory limit, so a crash is counted and not met. What may come
of it: a refusal by its error; the whole file's own result; another result that the file explains, because its header or
its voxels now say so in full. What may not: a result that the file does not hold, another error, a crash, more time or
memory.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from hostile_files import KINDS, SHAPE_KJI, hostile_files, small_ct

from VertebralFractureLib.doubts import DoubtKind
from VertebralFractureLib.errors import UnreadableVolume, WeightsDamaged
from VertebralFractureLib.volume import read_volume, separate_reader
from VertebralFractureLib.volume.ct_volume import CTVolume
from VertebralFractureLib.volume.dicom_elements import NoDataSet, read_top_level, text_of, value_of
from VertebralFractureLib.volume.image_file import read_image_header
from VertebralFractureLib.volume.image_header import Encoding
from VertebralFractureLib.volume.plausibility import AIR_HU
from VertebralFractureLib.volume.sitk_bridge import linear_transform_matrix
from VertebralFractureLib.volume.stored_file import DiskFile
from VertebralFractureLib.weights import decode_safetensors

TIME_LIMIT_S, MEMORY_LIMIT_BYTES = 20.0, 1 << 29
BAD = ("unexplained", "other error", "crash", "too long", "too much memory")
CRASHES_ARE_CONTAINED = ("dicom", "transform")
"""Kinds that a library reads, which the product therefore reads in a process of its own."""
SECRET = small_ct().hu + np.int16(500)


def outcome_of(kind: str, case: int, folder: Path) -> str:
    """What came of a case; one of ``BAD``, with what was met, where it may not."""
    _, files = hostile_files(kind, case)
    if kind == "weights":
        return weights_outcome(files["w"])
    place = folder / "sent"
    place.mkdir()
    (folder / "secret.raw").write_bytes(SECRET.tobytes())
    (place / "link.raw").symlink_to(folder / "secret.raw")
    for name, content in files.items():
        (place / name).write_bytes(content)
    first = place / next(iter(files))
    if kind == "transform":
        matrix = linear_transform_matrix(first)
        return "refused" if matrix is None else "read"
    try:
        ct = read_volume(place if kind == "dicom" else first)
    except UnreadableVolume as refusal:
        return "refused" if "\n" not in str(refusal) else f"other error {refusal}"
    finally:
        if sorted(path.name for path in folder.iterdir()) != ["secret.raw", "sent"]:
            raise AssertionError("a file was written outside")
    if same(ct, small_ct()):
        return "as the whole file"
    if ct.hu.shape == SECRET.shape and np.array_equal(ct.hu, SECRET):
        return "unexplained: voxels of another file"
    reason = why_unexplained(kind, ct, place, first)
    return f"unexplained: {reason}" if reason else "another result, explained"


def same(ct: CTVolume, whole: CTVolume) -> bool:
    return (
        ct.hu.shape == whole.hu.shape
        and np.array_equal(ct.hu, whole.hu)
        and np.allclose(ct.ijk_to_ras[:3, :3], whole.ijk_to_ras[:3, :3], atol=1e-4)
    )


def why_unexplained(kind: str, ct: CTVolume, place: Path, first: Path) -> str:
    """Why the files do not hold this result; empty where they do."""
    if not np.all(np.isfinite(ct.hu)) or not np.all(np.isfinite(ct.ijk_to_ras)):
        return "no numbers"
    if kind == "dicom":
        return why_dicom_unexplained(ct, place)
    if kind == "scene":
        # Its one image: the same voxels, or damaged ones that are all there (the image's own fuzzing proves that).
        # Sizes in another order are a lie that nothing contradicts.
        return "" if ct.hu.size == np.prod(SHAPE_KJI) else f"shape {ct.hu.shape}"
    header = read_image_header(DiskFile(first))
    content = b"".join(Path(place / part.name).read_bytes() for part in header.parts)
    if header.encoding is Encoding.TEXT:
        return ""
    if header.encoding is not Encoding.RAW:
        offset = 0 if header.encoding is Encoding.GZIP_FILE else header.offset_bytes or 0
        content = unpacked(content[offset:])
    if header.encoding is not Encoding.DEFLATE and header.offset_bytes is not None:
        content = content[header.offset_bytes :]
    if len(content) < header.size_bytes:
        return f"{header.size_bytes} bytes of voxels from {len(content)}"
    held = content[-header.size_bytes :] if header.offset_bytes is None else content[: header.size_bytes]
    with np.errstate(all="ignore"):
        values = np.frombuffer(held, header.voxel_type).reshape(header.size_ijk[::-1]).astype(np.float64)
        values = np.float32(values * header.slope + header.intercept)
        values = np.maximum(np.where(np.isfinite(values), values, AIR_HU), AIR_HU)
        if ct.hu.dtype == np.int16:
            values = np.clip(values, -32768, 32767)
        far = np.abs(values - ct.hu) > 1e-3 * np.maximum(1.0, np.abs(values))
    return f"{int(far.sum())} voxels that the file does not hold" if far.any() else ""


def unpacked(content: bytes) -> bytes:
    whole = b""
    while content := content.lstrip(b"\0"):
        stream = zlib.decompressobj(47)
        whole += stream.decompress(content)
        content = stream.unused_data
    return whole


def why_dicom_unexplained(ct: CTVolume, place: Path) -> str:
    """Every plane is one of the whole files, one that a damaged file holds in full, or said to be interpolated."""
    known = {plane.tobytes() for plane in small_ct().hu}
    planes = [plane for plane in ct.hu if plane.astype(np.int16).tobytes() not in known]
    missing = SHAPE_KJI[0] - len(ct.hu)
    said = any(doubt.kind is DoubtKind.FILES_LEFT_OUT for doubt in ct.doubts)
    allowed = int(ct.source.get("interpolated_slices", 0))
    if ct.hu.shape[1:] != SHAPE_KJI[1:]:
        return f"shape {ct.hu.shape}"
    for plane in planes:
        if not any(holds(file, plane) for file in place.glob("IM*")):
            allowed -= 1
    if allowed < 0:
        return f"{-allowed} planes that no file holds"
    if missing > 0 and not said and all_in_one_series(place):
        return f"{missing} slices gone without a word"
    return ""


def holds(file: Path, plane: np.ndarray) -> bool:
    """Whether the uncompressed pixels of a file are this plane, by its own slope and intercept; JPEG is believed."""
    content = file.read_bytes()
    try:
        elements, _ = read_top_level(content)
        slope, intercept = (float(text_of(content, elements, tag) or "nan") for tag in (0x00281053, 0x00281052))
    except ValueError:
        return True
    pixels = elements.get(0x7FE00010)
    if pixels is None:
        return False
    if pixels.undefined_length:
        return True
    for kind in ("<i2", "<u2", ">i2", ">u2", "i1", "u1"):
        size = plane.size * np.dtype(kind).itemsize
        if pixels.end - pixels.start < size:
            continue
        raw = np.frombuffer(content[pixels.start : pixels.start + size], kind).astype(np.float64)
        for scale, offset in ((slope, intercept), (1.0, 0.0), (1.0, intercept)):
            values = np.clip(raw * scale + offset, AIR_HU, 32767)
            if np.all(np.abs(values - plane.ravel()) <= 1e-3 * np.abs(values) + 1.0):
                return True
    return False


def all_in_one_series(place: Path) -> bool:
    """Whether every file still says that it belongs to the whole series, so that none may be left out silently."""
    for file in place.glob("IM*"):
        try:
            elements, _ = read_top_level(content := file.read_bytes())
        except NoDataSet:
            return False
        if value_of(content, elements.get(0x0020000E)).strip(b"\0 ") != b"1.2.826.0.1.1" or 0x7FE00010 not in elements:
            return False
        if any(tag not in elements for tag in (0x00080060, 0x00200032, 0x00200037, 0x00280030, 0x00280010, 0x00280011)):
            return False
    return True


def weights_outcome(content: bytes) -> str:
    import safetensors.numpy

    try:
        tensors, _ = decode_safetensors(content)
    except WeightsDamaged:
        return "refused"
    theirs = safetensors.numpy.load(content)
    if tensors.keys() != theirs.keys() or any(not np.array_equal(tensors[key], theirs[key]) for key in tensors):
        return "unexplained: other tensors than the safetensors package reads"
    return "read as the safetensors package does"


def run(kind: str, cases: range) -> Iterator[tuple[int, str, float]]:
    """The outcome and seconds of each case, each worker reading until it is done or dies."""
    next_case = cases.start
    while next_case < cases.stop:
        reads, writes = os.pipe()
        worker = os.fork()
        if worker == 0:
            os.close(reads)
            work(kind, range(next_case, cases.stop), writes)
        os.close(writes)
        with os.fdopen(reads, encoding="utf-8") as lines:
            for line in lines:
                case, outcome, seconds = json.loads(line)
                yield case, outcome, seconds
                next_case = case + 1
        status = os.waitpid(worker, 0)[1]
        if status != 0 and next_case < cases.stop:
            code = os.waitstatus_to_exitcode(status)
            yield next_case, "too long" if code == -signal.SIGALRM else f"crash ({code})", 0.0
            next_case += 1


def work(kind: str, cases: range, writes: int) -> None:
    """Read the cases and write a line for each; ends the process."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    separate_reader.find_python = lambda: None
    taken = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY_LIMIT_BYTES, taken + MEMORY_LIMIT_BYTES))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    for case in cases:
        signal.setitimer(signal.ITIMER_REAL, TIME_LIMIT_S)
        started = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="fuzz") as folder:
            try:
                outcome = outcome_of(kind, case, Path(folder))
            except MemoryError:
                outcome = "too much memory"
            except Exception:
                outcome = f"other error: {traceback.format_exc()[-1500:]}"
        seconds = time.perf_counter() - started
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        os.write(writes, (json.dumps([case, outcome, seconds]) + "\n").encode())
    os._exit(0)


def is_bad(kind: str, outcome: str) -> bool:
    """Whether the product would do what it may not; a crash of a library that has its own process is one sentence."""
    contained = kind in CRASHES_ARE_CONTAINED and outcome.startswith(("crash", "too long", "too much memory"))
    return outcome.startswith(BAD) and not contained


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=10_000, help="of each kind (default: %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    arguments = parser.parse_args()
    bad = 0
    for kind in arguments.kinds:
        counts: Counter[str] = Counter()
        longest = 0.0
        for case, outcome, seconds in run(kind, range(arguments.first, arguments.first + arguments.cases)):
            counts[outcome.split(":")[0]] += 1
            longest = max(longest, seconds)
            if is_bad(kind, outcome):
                bad += 1
                print(f"  {kind} {case}: {outcome}", flush=True)
        shown = ", ".join(f"{count} {outcome}" for outcome, count in counts.most_common())
        print(f"{kind}: {sum(counts.values())} cases; {shown}; longest {longest:.1f} s", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
