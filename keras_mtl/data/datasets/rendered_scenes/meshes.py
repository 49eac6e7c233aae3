"""Solids as triangles: a few that are computed, and those of Wavefront OBJ files."""

import dataclasses
import itertools

import numpy as np

_SIDES = 32


@dataclasses.dataclass(frozen=True, eq=False)
class Mesh:
    """A surface of triangles.

    Args:
        vertices: `(n, 3)` float64.
        faces: `(m, 3)` int64, the vertices of every triangle, counter-clockwise from
            outside.

    Example:

    >>> box().vertices.shape, box().faces.shape
    ((8, 3), (12, 3))
    """

    vertices: np.ndarray
    faces: np.ndarray

    def to_obj(self) -> str:
        """The text of a Wavefront OBJ file."""
        lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in self.vertices]
        lines += [f"f {a} {b} {c}" for a, b, c in self.faces + 1]
        return "\n".join(lines) + "\n"


def from_obj(text: str) -> Mesh:
    """Reads the faces of a Wavefront OBJ file, and cuts polygons into triangles.

    Args:
        text: Content of the file.

    Returns:
        The `Mesh`, its bounding box centred at the origin and scaled so that the
        farthest vertex is at a distance of 1.

    Raises:
        ValueError: If there is no face, or one of fewer than three corners.

    Example:

    >>> from_obj("v 0 0 0\\nv 2 0 0\\nv 0 2 0\\nf 1 2 3").vertices[0].round(2).tolist()
    [-0.71, -0.71, 0.0]
    """
    words = [line.split() for line in text.splitlines()]
    polygons = [
        [int(corner.split("/")[0]) - 1 for corner in row[1:]]
        for row in words
        if row[:1] == ["f"]
    ]
    if min(map(len, polygons), default=0) < 3:
        raise ValueError(
            "Expected an OBJ file with faces of three corners or more. "
            f"Received: {len(polygons)} faces, beginning with {polygons[:1]}"
        )
    faces = np.array(
        [
            (polygon[0], a, b)
            for polygon in polygons
            for a, b in itertools.pairwise(polygon[1:])
        ]
    )
    vertices = np.array([row[1:4] for row in words if row[:1] == ["v"]], np.float64)
    vertices -= (vertices.max(axis=0) + vertices.min(axis=0)) / 2
    return Mesh(vertices / np.sqrt((vertices**2).sum(axis=1).max()), faces)


def box() -> Mesh:
    """The cube between -1 and 1 on all axes."""
    corners = np.array([(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)])
    faces = []
    for axis, side in ((a, s) for a in range(3) for s in (0, 1)):
        (quad,) = np.nonzero(corners[:, axis] == side)
        a, b, c, d = quad[[0, 2, 3, 1] if (side == 1) != (axis == 1) else [0, 1, 3, 2]]
        faces += [(a, b, c), (a, c, d)]
    return Mesh(corners * 2.0 - 1.0, np.array(faces))


def cylinder() -> Mesh:
    """The cylinder of radius 1 around the z axis, from -1 to 1."""
    return _turned([(1.0, -1.0), (1.0, 1.0)])


def cone() -> Mesh:
    """The cone of radius 1 at the height -1, with its tip at the height 1."""
    return _turned([(1.0, -1.0)])


def ball() -> Mesh:
    """The unit ball."""
    angles = np.linspace(-np.pi / 2, np.pi / 2, _SIDES // 2 + 1)[1:-1]
    return _turned(list(zip(np.cos(angles), np.sin(angles), strict=True)))


def _turned(profile):
    """Rings of the given radii and heights around the z axis, closed at -1 and 1."""
    angles = 2 * np.pi * np.arange(_SIDES) / _SIDES
    circle = np.stack([np.cos(angles), np.sin(angles), np.zeros(_SIDES)], axis=1)
    rings = [radius * circle + (0, 0, height) for radius, height in profile]
    vertices = np.concatenate([*rings, [(0, 0, -1), (0, 0, 1)]])
    bottom, top = len(vertices) - 2, len(vertices) - 1
    here = np.arange(_SIDES)
    there = np.roll(here, -1)
    faces = [np.stack([there, here, np.full(_SIDES, bottom)], axis=1)]
    for ring in range(len(rings) - 1):
        a, b = here + ring * _SIDES, there + ring * _SIDES
        faces.append(np.stack([a, b, b + _SIDES], axis=1))
        faces.append(np.stack([a, b + _SIDES, a + _SIDES], axis=1))
    last = (len(rings) - 1) * _SIDES
    faces.append(np.stack([here + last, there + last, np.full(_SIDES, top)], axis=1))
    return Mesh(vertices, np.concatenate(faces))
