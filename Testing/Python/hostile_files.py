"""Small whole files of every kind that a volume, a scene or weights come in, and ways to make them lie.

Beside chance bytes, the damage knows the formats: fields of headers, lengths, types, names of files and members, depth,
compressed streams that are whole but too short or too long. The same number of a case always makes the same file.
"""

from __future__ import annotations

import functools
import gzip
import io
import json
import random
import re
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from volume_samples import a_ct

from VertebralFractureLib.research.training.save_weights import encode_safetensors
from VertebralFractureLib.volume import CTVolume, ct_to_sitk
from VertebralFractureLib.volume.dicom_elements import NoDataSet, read_top_level

SHAPE_KJI, SPACING_MM = (10, 9, 11), (4.0, 4.5, 5.0)
NUMBERS = (
    "0",
    "-1",
    "1",
    "2",
    "9",
    "10",
    "12",
    "22",
    "65535",
    "99999999999",
    "2147483648",
    "1e30",
    "-1e-9",
    "nan",
    "inf",
)
NUMBERS += ("1e400", "x", "", "0x10", "1 2", "4.5", "-0.0", "9" * 300, "1_0", "\u0663")
NAMES = (
    "../secret.raw",
    "/etc/passwd",
    "C:\\x",
    "LOCAL",
    "LIST",
    "ct%03d.raw 1 9 1",
    "%s%n",
    ".",
    "",
    "ct.nrrd",
    "a\0b",
)
NAMES += ("..\\secret.raw", "/dev/zero", "link.raw", "%99999d 1 2 1", "secret.raw/x", "\\\\host\\share", "~/x", "aux")
DEPTHS = (1, 3, 20, 30, 300, 5000)

Files = dict[str, bytes]


@dataclass(frozen=True)
class Kind:
    """A kind of input.

    Attributes:
        whole: makes its whole files by name, the one to be read first.
        damage: makes other files of them.
    """

    whole: Callable[[random.Random], Files]
    damage: Callable[[Files, random.Random], Files]


def small_ct() -> CTVolume:
    return a_ct(SHAPE_KJI, SPACING_MM)


@functools.cache
def written(suffix: str, compressed: bool) -> tuple[tuple[str, bytes], ...]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sitk.WriteImage(ct_to_sitk(small_ct()), str(folder / f"ct{suffix}"), useCompression=compressed)
        first, *others = sorted(folder.iterdir(), key=lambda path: path.name != f"ct{suffix}")
        return tuple((path.name, path.read_bytes()) for path in (first, *others))


def damage_bytes(content: bytes, chance: random.Random, header: int = 500) -> bytes:
    """Change, cut, repeat or take out a piece; half of it in the header."""
    if len(content) < 8:
        return content
    at = chance.randrange(len(content) if chance.random() < 0.5 else min(len(content), header))
    piece = chance.randint(1, 60)
    odd = (b"\xff\xff\xff\xff", bytes(4), b"\xff\xff\xff\x7f", b"\0\0\x80\x7f", b"\0\0\xc0\x7f", b"\x01\0\0\0")
    return chance.choice(
        [
            content[:at] + bytes([chance.randrange(256)]) + content[at + 1 :],
            content[:at],
            content[:at] + content[at : at + piece] + content[at:],
            content[:at] + content[at + piece :],
            content[:at] + chance.choice(odd) + content[at + 4 :],
            content + bytes(chance.choice([1, 3, 200, 5000])),
        ]
    )


def damage_lines(header: bytes, separator: bytes, names: Sequence[bytes], chance: random.Random) -> bytes:
    """Change a header of lines with a field each."""
    lines = header.split(b"\n")
    at = chance.randrange(len(lines))
    key, _, value = lines[at].partition(separator)
    words = value.split(b" ")
    kind = chance.randrange(9)
    if kind <= 2:
        spots = list(re.finditer(rb"-?[0-9][0-9.e+-]*|[A-Za-z_%/.]+", value))
        if spots:
            spot = chance.choice(spots)
            new = chance.choice(NUMBERS).encode()
            value = value[: spot.start()] + new + value[spot.end() :]
            lines[at] = key + separator + value
    elif kind == 3:
        chance.shuffle(words)
        lines[at] = key + separator + b" ".join(words)
    elif kind == 4:
        del lines[at]
    elif kind == 5:
        lines.insert(chance.randrange(len(lines)), lines[at])
    elif kind == 6:
        other = chance.choice([line.partition(separator)[2] for line in lines])
        lines[at] = key + separator + other
    elif kind == 7:
        field = chance.choice(names)
        lines.insert(chance.randrange(1, len(lines) + 1), field + separator + chance.choice(NUMBERS + NAMES).encode())
    else:
        lines.insert(
            chance.randrange(len(lines)), chance.choice([b"", b"\0", b"=", b":", b"x" * 5000, b"\xff\xfe", b"#"])
        )
    return b"\n".join(lines)


def damage_stream(body: bytes, chance: random.Random) -> bytes:
    """A compressed stream with another content, whole or not; or bytes."""
    try:
        plain = zlib.decompressobj(47).decompress(body) or body
    except zlib.error:
        return damage_bytes(body, chance)
    kind = chance.randrange(7)
    if kind == 0:
        return damage_bytes(body, chance)
    pack = zlib.compress if chance.random() < 0.5 else functools.partial(gzip.compress, mtime=0)
    if kind == 1:
        return pack(plain[: chance.randrange(len(plain) or 1)])
    if kind == 2:
        return pack(plain + bytes(chance.choice([1, 100, 10_000, 30_000_000])))
    if kind == 3:
        half = chance.randrange(len(plain) or 1)
        return pack(plain[:half]) + pack(plain[half:])
    if kind == 4:
        return pack(plain) + bytes(chance.randint(1, 600))
    if kind == 5:
        return plain
    return pack(damage_bytes(plain, chance))


NRRD_FIELDS = (b"data file", b"byte skip", b"line skip", b"space units", b"spacings", b"kinds", b"space", b"datafile")
NRRD_FIELDS += (b"space dimension", b"endian", b"encoding", b"type", b"measurement frame", b"sizes", b"old min")
META_FIELDS = (b"HeaderSize", b"ElementNumberOfChannels", b"CompressedData", b"CompressedDataSize", b"ElementSize")
META_FIELDS += (b"BinaryData", b"ElementToIntensityFunctionSlope", b"Position", b"NDims", b"Color", b"Comment")


def damage_text_image(files: Files, chance: random.Random, separator: bytes, names: Sequence[bytes]) -> Files:
    first = next(iter(files))
    files = dict(files)
    end = rb"\n\n" if separator == b": " else rb"ElementDataFile = [^\n]*\n"
    for _ in range(chance.randint(1, 3)):
        content = files[first]
        found = re.search(end, content)
        cut = found.end() if found else len(content)
        head, body = content[:cut], content[cut:]
        kind = chance.randrange(6)
        if kind <= 2:
            files[first] = (
                damage_lines(head.rstrip(b"\n"), separator, names, chance) + head[len(head.rstrip(b"\n")) :] + body
            )
        elif kind == 3:
            field = b"data file: " if separator == b": " else b"ElementDataFile = "
            lines = [line for line in head.rstrip(b"\n").split(b"\n") if not line.startswith(field)]
            lines.append(field + chance.choice(NAMES).encode())
            files[first] = b"\n".join(lines) + (b"\n\n" if separator == b": " else b"\n") + body
        elif kind == 4:
            name = chance.choice(list(files))
            if name == first:
                files[first] = head + damage_stream(body, chance)
            else:
                files[name] = damage_stream(files[name], chance)
        else:
            files[first] = damage_bytes(content, chance)
    return files


# Offset and form of what decides: nifti1.h.
NIFTI_FIELDS = [
    (0, "i"),
    *((40 + 2 * n, "h") for n in range(8)),
    (70, "h"),
    (72, "h"),
    *((76 + 4 * n, "f") for n in range(8)),
]
NIFTI_FIELDS += [(108, "f"), (112, "f"), (116, "f"), (123, "B"), (252, "h"), (254, "h")]
NIFTI_FIELDS += [(256 + 4 * n, "f") for n in range(18)] + [(344, "B"), (345, "B")]
INTEGERS = (-1, 0, 1, 2, 3, 4, 7, 8, 9, 16, 32, 100, 127, 32767, -32768)
REALS = (0.0, -1.0, 1.0, 0.5, 352.0, 353.0, 1e9, 1e30, float("nan"), float("inf"), -1e-30, 4.0, 5.0, 2.5)


def damage_nifti(files: Files, chance: random.Random) -> Files:
    files = dict(files)
    first = next(iter(files))
    packed = first.endswith(".gz")
    content = bytearray(gzip.decompress(files[first]) if packed else files[first])
    for _ in range(chance.randint(1, 3)):
        kind = chance.randrange(6)
        if kind <= 3:
            offset, form = chance.choice(NIFTI_FIELDS)
            value = chance.choice(REALS) if form == "f" else chance.choice(INTEGERS) % (256 if form == "B" else 1 << 15)
            if len(content) >= 348:
                struct.pack_into("<" + form, content, offset, value)
        elif kind == 4:
            content = bytearray(damage_bytes(bytes(content), chance))
        else:
            name = chance.choice(list(files))
            if name != first:
                files[name] = damage_bytes(files[name], chance)
    files[first] = bytes(content)
    if packed:
        files[first] = (
            damage_stream(gzip.compress(files[first], 1, mtime=0), chance)
            if chance.random() < 0.3
            else gzip.compress(files[first], 1, mtime=0)
        )
    return files


def whole_nifti(chance: random.Random) -> Files:
    plain = written(".nii", False)[0][1]
    kind = chance.randrange(3)
    if kind == 0:
        return {"ct.nii": plain}
    if kind == 1:
        return {"ct.nii.gz": gzip.compress(plain, 1, mtime=0)}
    header = bytearray(plain[:348])
    header[344:347] = b"ni1"
    struct.pack_into("<f", header, 108, 0.0)
    return {"ct.hdr": bytes(header), "ct.img": plain[352:]}


def whole_text(suffixes: Sequence[str]) -> Callable[[random.Random], Files]:
    return lambda chance: dict(written(chance.choice(suffixes), chance.random() < 0.6))


def whole_nrrd_text(chance: random.Random) -> Files:
    if chance.random() < 0.8:
        return whole_text((".nrrd", ".nhdr"))(chance)
    head = written(".nrrd", False)[0][1].partition(b"\n\n")[0].replace(b"encoding: raw", b"encoding: text")
    return {"ct.nrrd": head + b"\n\n" + " ".join(str(value) for value in small_ct().hu.ravel()).encode()}


LONG = (b"OB", b"OW", b"SQ", b"UN")
UIDS = {"class": "1.2.840.10008.5.1.4.1.1.2", "series": "1.2.826.0.1.1"}
IMPLICIT, EXPLICIT, JPEG_2000 = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.90"


def element(tag: int, kind: bytes, value: bytes, explicit: bool) -> bytes:
    value += (b"\0" if kind in (b"UI", *LONG) else b" ") * (len(value) % 2)
    begin = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
    if not explicit:
        return begin + struct.pack("<I", len(value)) + value
    if kind in LONG:
        return begin + kind + bytes(2) + struct.pack("<I", len(value)) + value
    return begin + kind + struct.pack("<H", len(value)) + value


def dicom_slice(k: int, syntax: str, packed: bytes = b"") -> bytes:
    """One slice of the small CT as a DICOM file, always of the same bytes."""
    ct, explicit = small_ct(), syntax != IMPLICIT
    position = np.diag([-1.0, -1.0, 1.0]) @ (ct.ijk_to_ras[:3, 3] + k * ct.ijk_to_ras[:3, 2])
    texts = [
        (0x00080008, b"CS", "ORIGINAL\\PRIMARY\\AXIAL"),
        (0x00080016, b"UI", UIDS["class"]),
        (0x00080018, b"UI", f"{UIDS['series']}.{k + 1}"),
        (0x00080060, b"CS", "CT"),
        (0x0008103E, b"LO", "Thorax 5.0"),
        (0x00100010, b"PN", "SECRET^NAME"),
        (0x00180050, b"DS", "5"),
        (0x00180060, b"DS", "120"),
        (0x0020000D, b"UI", "1.2.826.0.1"),
        (0x0020000E, b"UI", UIDS["series"]),
        (0x00200011, b"IS", "3"),
        (0x00200013, b"IS", str(k + 1)),
        (0x00200032, b"DS", "\\".join(f"{value:g}" for value in position)),
        (0x00200037, b"DS", "-1\\0\\0\\0\\-1\\0"),
        (0x00280004, b"CS", "MONOCHROME2"),
        (0x00280030, b"DS", f"{SPACING_MM[1]}\\{SPACING_MM[0]}"),
        (0x00281052, b"DS", "-1024"),
        (0x00281053, b"DS", "1"),
    ]
    numbers = [(0x00280002, 1), (0x00280010, SHAPE_KJI[1]), (0x00280011, SHAPE_KJI[2]), (0x00280100, 16)]
    numbers += [(0x00280101, 16), (0x00280102, 15), (0x00280103, 1)]
    sequence = b"\xfe\xff\x00\xe0" + b"\xff" * 4 + element(0x00080100, b"SH", b"113691", explicit)
    sequence += b"\xfe\xff\x0d\xe0" + bytes(4)
    fields = [(tag, element(tag, kind, text.encode(), explicit)) for tag, kind, text in texts]
    fields += [(tag, element(tag, b"US", struct.pack("<H", value), explicit)) for tag, value in numbers]
    fields.append((0x00081032, element(0x00081032, b"SQ", sequence, explicit)))
    content = b"".join(one for _, one in sorted(fields))
    if packed:
        items = b"\xfe\xff\x00\xe0" + bytes(4) + b"\xfe\xff\x00\xe0" + struct.pack("<I", len(packed)) + packed
        content += struct.pack("<HH", 0x7FE0, 0x10) + b"OB" + bytes(2) + b"\xff" * 4 + items
        content += b"\xfe\xff\xdd\xe0" + bytes(4)
    else:
        content += element(0x7FE00010, b"OW", (ct.hu[k] + np.int16(1024)).astype("<i2").tobytes(), explicit)
    first = element(0x00020002, b"UI", UIDS["class"].encode(), True)
    first += element(0x00020003, b"UI", f"{UIDS['series']}.{k + 1}".encode(), True)
    first += element(0x00020010, b"UI", syntax.encode(), True)
    return bytes(128) + b"DICM" + element(0x00020000, b"UL", struct.pack("<I", len(first)), True) + first + content


@functools.cache
def jpeg_2000(k: int) -> bytes:
    """The stored values of a slice, compressed without loss."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "packed.dcm"
        image = sitk.GetImageFromArray((small_ct().hu[k] + np.int16(1024))[None])
        writer = sitk.ImageFileWriter()
        writer.SetImageIO("GDCMImageIO")
        writer.UseCompressionOn()
        writer.SetFileName(str(path))
        writer.Execute(image)
        content = path.read_bytes()
        at = content.index(b"\xff\x4f\xff\x51")
        return content[at : content.rindex(b"\xff\xd9") + 2].ljust(2, b"\0")


def whole_dicom(chance: random.Random) -> Files:
    syntax = chance.choice([IMPLICIT, EXPLICIT, JPEG_2000])
    packed = [jpeg_2000(k) if syntax == JPEG_2000 else b"" for k in range(SHAPE_KJI[0])]
    return {f"IM{k:04d}": dicom_slice(k, syntax, own + bytes(len(own) % 2)) for k, own in enumerate(packed)}


def nested(depth: int, undefined: bool) -> bytes:
    """Sequences in each other, in implicit VR."""
    tag, item = b"\x40\x00\x75\x02", b"\xfe\xff\x00\xe0"
    if undefined:
        return (tag + b"\xff" * 4 + item + b"\xff" * 4) * depth + (
            b"\xfe\xff\x0d\xe0" + bytes(4) + b"\xfe\xff\xdd\xe0" + bytes(4)
        ) * depth
    content = b""
    for _ in range(min(depth, 2000)):
        content = tag + struct.pack("<I", len(content) + 8) + item + struct.pack("<I", len(content)) + content
    return content


def damage_dicom(files: Files, chance: random.Random) -> Files:
    files = dict(files)
    for _ in range(chance.randint(1, 2)):
        name = chance.choice(list(files))
        content = files[name]
        try:
            elements, _ = read_top_level(content)
        except NoDataSet:
            continue
        one = chance.choice(list(elements.values()))
        value = content[one.start : one.end]
        kind = chance.randrange(10)
        if kind == 0:
            files[name] = damage_bytes(content, chance, 1200)
        elif kind <= 3 and len(value) < 200:
            if one.kind in (b"US", b"UL", b"SS") or (not one.kind and len(value) in (2, 4) and not value.isdigit()):
                new = struct.pack("<I", chance.choice(INTEGERS) & 0xFFFFFFFF)[: len(value)].ljust(len(value), b"\0")
            else:
                words = "\\".join(chance.choice(NUMBERS) for _ in range(value.count(b"\\") + chance.randrange(2) or 1))
                new = words.encode()[: 2 * (len(value) // 2)].ljust(len(value), b" ")
            files[name] = content[: one.start] + new + content[one.end :]
        elif kind <= 5:
            size = 2 if one.kind and one.kind not in (b"OW", b"OB", b"SQ", b"UN", b"UT") else 4
            length = chance.choice([0, 1, 7, len(value) - 1, len(value) + 2, 0xFFFF, 0xFFFFFFFF, 0x7FFFFFF0, 1 << 20])
            length &= (1 << 8 * size) - 1
            files[name] = content[: one.start - size] + length.to_bytes(size, "little") + content[one.start :]
        elif kind == 6:
            before = one.start - (12 if one.kind in (b"OW", b"OB", b"SQ") else 8)
            files[name] = content[:before] + nested(chance.choice(DEPTHS), chance.random() < 0.5) + content[before:]
        elif kind == 7:
            before = one.start - 8
            piece = content[before : one.end]
            again = chance.choice([b"", piece + piece])
            files[name] = content[:before] + again + content[one.end :]
        elif kind == 8:
            syntaxes = (".1", ".2", ".4.50", ".4.51", ".4.57", ".4.70", ".4.80", ".4.90", ".5", ".1.99", "")
            old = re.search(rb"1\.2\.840\.10008\.1\.2[0-9.]*\0?", content[:400])
            new = b"1.2.840.10008.1.2" + chance.choice(syntaxes).encode()
            if old:
                files[name] = (
                    content[: old.start()]
                    + new.ljust(len(old.group()), b"\0")[: len(old.group())]
                    + (content[old.end() :])
                )
        else:
            files[name] = content[: chance.randrange(len(content))]
    return files


SCENE = (
    '<MRML version="Volume4"><LinearTransform id="T1" name="moved" '
    'matrixTransformToParent="1 0 0 2  0 1 0 3  0 0 1 4  0 0 0 1"/>'
    '<VolumeArchetypeStorage id="S1" fileName="Data/ct.nrrd"/>'
    '<Volume id="V1" name="CT" references="storage:S1;transform:T1;"/></MRML>'
)


def whole_scene(chance: random.Random) -> Files:
    return {"s/s.mrml": SCENE.encode(), "s/Data/ct.nrrd": written(".nrrd", chance.random() < 0.5)[0][1]}


def damage_scene(members: Files, chance: random.Random) -> Files:
    """Other members, packed; the archive itself now and then."""
    members = dict(members)
    packed = io.BytesIO()
    links: list[str] = []
    for _ in range(chance.randint(1, 2)):
        kind = chance.randrange(7)
        scene = next((name for name in members if name.endswith(".mrml")), None)
        image = next((name for name in members if name.endswith(".nrrd")), None)
        if kind == 0 and image:
            members[image] = damage_text_image({"ct": members[image]}, chance, b": ", NRRD_FIELDS)["ct"]
        elif kind == 1:
            name = chance.choice(list(members))
            members[chance.choice(NAMES) or "x"] = members.pop(name)
        elif kind == 2:
            members[f"s/{chance.choice(NAMES)}"] = b"planted"
        elif kind == 3 and scene:
            members[scene] = damage_bytes(members[scene], chance)
        elif kind == 4 and scene:
            old = chance.choice(list(re.finditer(rb'"[^"]*"', members[scene])) or [None])
            new = chance.choice([*NUMBERS, *NAMES, "S1", "T1", "V1", "storage:S1;transform:V1;", "Data/../../x"])
            if old:
                quoted = b'"' + new.replace("\0", "").encode() + b'"'
                members[scene] = members[scene][: old.start()] + quoted + members[scene][old.end() :]
        elif kind == 5 and scene:
            depth = chance.choice(DEPTHS)
            deep = b"<a>" * depth + b"</a>" * depth
            bomb = (
                b'<!DOCTYPE x [<!ENTITY a "'
                + b"a" * 900
                + b'">'
                + b"".join(
                    b'<!ENTITY a%d "%s">' % (n, b"&a%s;" % (b"" if n == 1 else b"%d" % (n - 1)) * 9)
                    for n in range(1, 9)
                )
                + b"]>"
            )
            members[scene] = chance.choice(
                [
                    members[scene].replace(b"</MRML>", deep + b"</MRML>"),
                    bomb + members[scene].replace(b'name="CT"', b'name="&a8;"'),
                    b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>'
                    + members[scene]
                    .replace(b'name="CT"', b'name="CT">&e;<b q="')
                    .replace(b"/></MRML>", b'"/></Volume></MRML>'),
                ]
            )
        elif kind == 6:
            links.append(chance.choice(list(members)))
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in members.items():
            try:
                info = zipfile.ZipInfo(name or "x")
                info.compress_type = chance.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
                if name in links:
                    info.external_attr = 0o120777 << 16
                archive.writestr(info, content)
            except ValueError:
                continue
    content = packed.getvalue()
    return {"scene.mrb": damage_bytes(content, chance, len(content)) if chance.random() < 0.3 else content}


def whole_weights(_: random.Random) -> Files:
    tensors = {"first": np.arange(12, dtype=np.float32).reshape(3, 4), "second": np.arange(3, dtype=np.int64)}
    return {"w": encode_safetensors({**tensors, "third": np.ones(5, np.float16)}, {"config": '{"width": 4}'})}


def damage_weights(files: Files, chance: random.Random) -> Files:
    content = files["w"]
    for _ in range(chance.randint(1, 3)):
        if chance.random() < 0.3 or len(content) < 8:
            content = damage_bytes(content, chance, 200)
            continue
        length = struct.unpack("<Q", content[:8])[0]
        try:
            header = json.loads(content[8 : 8 + length])
            entry = header[chance.choice([key for key in header if key != "__metadata__"])]
            place = chance.choice(["dtype", "shape", "data_offsets"])
            odd = (0, -1, 1, 3, 12, 48, 72, 1 << 40, 1e308, True, None, "F32", "F64", "BF16", "I8", [], [0, 48], [3, 4])
            if isinstance(entry[place], list) and entry[place] and chance.random() < 0.7:
                entry[place][chance.randrange(len(entry[place]))] = chance.choice(odd)
            else:
                entry[place] = chance.choice(odd)
            text = json.dumps(header).encode()
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
            text = b"[" * chance.choice(DEPTHS)
        content = struct.pack("<Q", len(text)) + text + content[8 + length :]
    return {"w": content}


@functools.cache
def transforms() -> tuple[bytes, ...]:
    with tempfile.TemporaryDirectory() as name:
        found = []
        for suffix in (".tfm", ".h5"):
            path = Path(name) / f"t{suffix}"
            sitk.WriteTransform(sitk.AffineTransform([1, 0, 0, 0, 1, 0, 0, 0, 1], [1, 2, 3]), str(path))
            found.append(path.read_bytes())
        return tuple(found)


def whole_transform(chance: random.Random) -> Files:
    kind = chance.randrange(2)
    return {("t.tfm", "t.h5")[kind]: transforms()[kind]}


def damage_transform(files: Files, chance: random.Random) -> Files:
    ((name, content),) = files.items()
    for _ in range(chance.randint(1, 3)):
        content = damage_bytes(content, chance, len(content))
    return {name: content}


KINDS = {
    "nifti": Kind(whole_nifti, damage_nifti),
    "nrrd": Kind(whole_nrrd_text, lambda files, chance: damage_text_image(files, chance, b": ", NRRD_FIELDS)),
    "metaimage": Kind(
        whole_text((".mha", ".mhd")), lambda files, chance: damage_text_image(files, chance, b" = ", META_FIELDS)
    ),
    "dicom": Kind(whole_dicom, damage_dicom),
    "scene": Kind(whole_scene, damage_scene),
    "transform": Kind(whole_transform, damage_transform),
    "weights": Kind(whole_weights, damage_weights),
}


def hostile_files(kind: str, case: int) -> tuple[Files, Files]:
    """The whole files of a case, and the damaged ones."""
    chance = random.Random(f"{kind} {case}")
    whole = KINDS[kind].whole(chance)
    return whole, KINDS[kind].damage(whole, chance)
