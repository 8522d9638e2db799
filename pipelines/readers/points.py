"""Point clouds: meshes, arrays and text to checked xyz points."""

from __future__ import annotations

import codecs
import io
import os
import pathlib
import re
import warnings

import numpy as np

from pipelines.readers import Rejected

# Files that hold one cloud or one mesh each.
SUFFIXES = frozenset({".off", ".npy", ".txt", ".xyz"})
# Fewer points than this are no shape; real clouds have hundreds.
MIN_POINTS = 16
_TIGHT_COMMA, _BLANK = re.compile(r"[^\s,],[^\s,]"), re.compile(r"[^\s,]\s+[^\s,]")
_OFF = re.compile(rb"(?:ST)?C?N?OFF(?!\s*BINARY)", re.IGNORECASE)


def read(source: str | os.PathLike | bytes, name: str, num_points: int, seed: int) -> np.ndarray:
    """Reads one cloud.

    Meshes (`.off`) are sampled on their surface, uniformly by area. Clouds (`.npy` `[n, 3]`; `.txt`
    and `.xyz` with a point a line, separated by commas or blanks; three more columns are normals
    and are dropped) keep their points; of more than `num_points` a random subset is taken.

    Args:
      source: path of a local file, or its content.
      name: file name; its extension says what the content is.
      num_points: points sampled from a mesh; upper limit for a cloud.
      seed: of every random choice, so that the same source gives the same points.

    Returns:
      xyz, float32 `[n, 3]`, in the source's own units.

    Raises:
      Rejected: not readable as its extension says, another shape, NaN or infinity, fewer than
        `MIN_POINTS` points, a mesh without a surface or cut off.
    """
    data = source if isinstance(source, bytes) else pathlib.Path(source).read_bytes()
    if not data:
        raise Rejected("empty-file", f"{name} has no bytes")
    suffix = os.path.splitext(name)[1].lower()
    if suffix == ".off":
        return check(_sample_mesh(data, name, num_points, seed), name, num_points, seed)
    if suffix == ".npy":
        try:
            cloud = np.load(io.BytesIO(data), allow_pickle=False)
        except Exception as error:  # NumPy parses the header as Python, and raises what that does.
            raise Rejected("not-a-cloud", f"{name}: no .npy array ({_one_line(error)})") from None
        if not isinstance(cloud, np.ndarray):
            raise Rejected("not-a-cloud", f"{name}: an archive of arrays, one array is read")
    elif suffix in (".txt", ".xyz"):
        try:
            text = data.decode("utf-8-sig")
            _check_commas(text, name)
            text = text.replace(",", " ")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # NumPy's, about empty input.
                cloud = np.loadtxt(io.StringIO(text), dtype=np.float64, ndmin=2)
        except Rejected:
            raise
        except ValueError as error:  # A UnicodeDecodeError too.
            raise Rejected("not-a-cloud", f"{name}: no numbers ({_one_line(error)})") from None
    else:
        known = ", ".join(sorted(SUFFIXES))
        raise Rejected("unknown-format", f"{name}: read are {known}")
    return check(cloud, name, num_points, seed)


def check(cloud: np.ndarray, name: str, num_points: int, seed: int) -> np.ndarray:
    """Checks a cloud and limits its size.

    Args:
      cloud: `[n, 3]` or, with normals, `[n, 6]`; any real dtype.
      name: of the item, for the message.
      num_points: of more points a random subset is taken, in the cloud's own order.
      seed: of that choice.

    Returns:
      xyz, float32 `[min(n, num_points), 3]`.

    Raises:
      Rejected: as `read`.
    """
    if cloud.ndim != 2 or cloud.shape[1] not in (3, 6) or cloud.dtype.kind not in "fiu":
        raise Rejected(
            "not-a-cloud", f"{name}: {cloud.dtype} array of shape {cloud.shape}, expected [n, 3]"
        )
    if len(cloud) < MIN_POINTS:
        raise Rejected("too-few-points", f"{name} has {len(cloud)}, needed are {MIN_POINTS}")
    with np.errstate(over="ignore"):
        points = cloud[:, :3].astype(np.float32)
    if not np.isfinite(points).all():
        raise Rejected("not-finite", f"{name} holds NaN or infinity")
    if len(points) > num_points:
        chosen = np.random.default_rng(seed).choice(len(points), num_points, replace=False)
        points = points[np.sort(chosen)]
    return points


def _check_commas(text: str, name: str) -> None:
    """Looks for decimal commas, whose halves would be numbers of their own.

    Raises:
      Rejected: a line whose numbers are separated by blanks has a comma between two characters.
    """
    if "," not in text:
        return
    for number, line in enumerate(text.splitlines(), 1):
        line = line.partition("#")[0]
        if _TIGHT_COMMA.search(line) and _BLANK.search(line):
            raise Rejected(
                "not-a-cloud",
                f"{name}, line {number}: blanks separate the numbers, and commas stand within "
                "them; write decimal points",
            )


def _sample_mesh(data: bytes, name: str, num_points: int, seed: int) -> np.ndarray:
    import trimesh

    text = _plain_off(data, name)
    try:
        # process=False: merging vertices would cost time and change nothing about the surface.
        mesh = trimesh.load(io.BytesIO(text), file_type="off", process=False, force="mesh")
        vertices, faces = np.asarray(mesh.vertices), np.asarray(mesh.faces)
    except Exception as error:  # The parser raises whatever NumPy and indexing raise on bad text.
        raise Rejected("not-a-mesh", f"{name}: {_one_line(error)}") from None
    if not np.isfinite(vertices).all():
        raise Rejected("not-finite", f"{name} holds NaN or infinity")
    if len(faces) and (faces.min() < 0 or faces.max() >= len(vertices)):
        raise Rejected("not-a-mesh", f"{name}: a face names a vertex that does not exist")
    area = float(mesh.area) if len(faces) else 0.0
    if not area > 0:
        raise Rejected("no-surface", f"{name}: {len(faces)} faces with a total area of {area:g}")
    points, _ = trimesh.sample.sample_surface(mesh, num_points, seed=seed)
    return np.asarray(points)


def _plain_off(data: bytes, name: str) -> bytes:
    """An OFF file without comments and empty lines, its header plain OFF.

    Textures (ST), colours (C) and normals (N) that a header announces follow a vertex's
    coordinates, and are passed over.

    Raises:
      Rejected: another header, or fewer lines than the header says.
    """
    lines = data.removeprefix(codecs.BOM_UTF8).splitlines()
    lines = [line for line in (line.partition(b"#")[0].strip() for line in lines) if line]
    header = _OFF.match(lines[0]) if lines else None
    if header is None:
        raise Rejected("not-a-mesh", f"{name} does not begin with OFF")
    rest = lines[0][header.end() :].strip()  # Some files of ModelNet40 have the counts there.
    lines = ([rest] if rest else []) + lines[1:]
    counts = lines[0].split() if lines else []
    if len(counts) > 1 and all(count.isdigit() for count in counts):
        vertices, faces = map(int, counts[:2])
        if len(lines) - 1 < vertices + faces:
            raise Rejected(
                "truncated-mesh",
                f"{name} has {len(lines) - 1:,} lines of {vertices:,} vertices and {faces:,} faces",
            )
        last = lines[vertices + faces].split()
        if faces and last[0].isdigit() and len(last) <= int(last[0]):
            raise Rejected("truncated-mesh", f"{name}: its last face is cut off")
    return b"\n".join([b"OFF", *lines, b""])


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
