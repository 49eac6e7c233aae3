"""Draws a scene: a room, up to eight objects on its floor, a camera and a light.

Pure NumPy. Lengths are metres, the z axis points up, the floor lies at z = 0. Numbers
come from a random stream that NumPy promises not to change.
"""

import colorsys
import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from keras_mtl.data.datasets.rendered_scenes import meshes

SIDE = 64  # side of the image, pixels
FIELD_OF_VIEW = 50.0  # of the camera, degrees
SOLIDS = {
    "box": meshes.box(),
    "ball": meshes.ball(),
    "cylinder": meshes.cylinder(),
    "cone": meshes.cone(),
}
# Classes of pixels; "toy" are the meshes of the package.
SURFACES = ("floor", "wall", *SOLIDS, "toy")
SPLITS = ("train", "validation", "test")
MAX_OBJECTS = 8
_TRIES = 30  # for a free place on the floor
_UPRIGHT = np.array([0.0, 0.0, 0.0, 1.0])


@dataclasses.dataclass(frozen=True, eq=False)
class Body:
    """A thing of one colour.

    Args:
        surface: Its class, a word of `SURFACES`.
        mesh: Name of its mesh: one of `SOLIDS`, or `"toy_"` and a number.
        scale: `(3,)`, factors of the mesh along its axes, metres.
        position: `(3,)`, where the origin of the mesh is.
        rotation: `(4,)`, unit quaternion x, y, z, w.
        colour: `(3,)`, red, green and blue from 0 to 1.
    """

    surface: str
    mesh: str
    scale: np.ndarray
    position: np.ndarray
    rotation: np.ndarray
    colour: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Scene:
    """What is rendered.

    Args:
        room: The floor and the walls.
        objects: What stands on the floor.
        eye: `(3,)`, where the camera is.
        target: `(3,)`, what it looks at.
        light: `(3,)`, where the light comes from.
        ambient: Share of the light that comes from everywhere.
    """

    room: tuple[Body, ...]
    objects: tuple[Body, ...]
    eye: np.ndarray
    target: np.ndarray
    light: np.ndarray
    ambient: float


def split_toys(count: int, seed: int) -> dict[str, np.ndarray]:
    """Divides the toys: no two splits have one in common.

    Args:
        count: How many there are.
        seed: Seed of the dataset.

    Returns:
        Sorted numbers of the toys by split: 70, 10 and 20 % of them.

    Example:

    >>> {name: len(toys) for name, toys in split_toys(1000, seed=0).items()}
    {'train': 700, 'validation': 100, 'test': 200}
    """
    # RandomState, here and below: NumPy promises that its stream never changes.
    order = np.random.RandomState([seed, len(SPLITS)]).permutation(count)
    parts = np.split(order, [count * 7 // 10, count * 8 // 10])
    return {name: np.sort(part) for name, part in zip(SPLITS, parts, strict=True)}


def rotated(points: np.ndarray, quaternion: np.ndarray) -> np.ndarray:
    """Turns points `(n, 3)` by a unit quaternion x, y, z, w.

    Example:

    >>> quarter = np.array([0, 0, 1, 1]) / np.sqrt(2)
    >>> rotated(np.array([[1.0, 0.0, 0.0]]), quarter).round(3).tolist()
    [[0.0, 1.0, 0.0]]
    """
    axis, w = quaternion[:3], quaternion[3]
    across = 2.0 * np.cross(axis, points)
    return points + w * across + np.cross(axis, across)


def draw_scene(
    toys: Mapping[int, meshes.Mesh] | Sequence[meshes.Mesh],
    numbers: np.ndarray,
    split: str,
    number: int,
    seed: int,
) -> Scene:
    """Draws one scene, which depends on the arguments only.

    Args:
        toys: Meshes of the toys by number.
        numbers: Numbers of the toys of this split.
        split: "train", "validation" or "test".
        number: Number of the scene in the split.
        seed: Seed of the dataset.

    Returns:
        The `Scene`. It has from one object to eight, uniformly, or fewer where no free
        place for another was found.

    Example:

    >>> scene = draw_scene([meshes.ball()], np.array([0]), "train", 0, seed=0)
    >>> [body.surface for body in scene.room]
    ['floor', 'wall', 'wall', 'wall']
    """
    random = np.random.RandomState([seed, SPLITS.index(split), number])
    room = _room(random)
    angle = np.radians(random.uniform(-35.0, 35.0))
    away, height = random.uniform(1.2, 1.9), random.uniform(0.7, 1.4)
    target = np.array([random.uniform(-0.15, 0.15), random.uniform(-0.1, 0.2), 0.15])
    eye = np.array([away * np.sin(angle), -away * np.cos(angle), height])
    light = np.array([random.uniform(-1, 1), random.uniform(-1, -0.2), 1.0])
    ambient = random.uniform(0.35, 0.6)
    objects: list[Body] = []
    places: list[np.ndarray] = []
    for _ in range(random.randint(1, MAX_OBJECTS + 1)):
        radius = random.uniform(0.12, 0.25)
        place = _free_place(random, radius, places)
        # Drawn even if there is no place, so that later objects stay what they are.
        body = _object(random, radius, place, toys, numbers)
        if np.isfinite(place).all():
            places.append(np.array([*place, radius]))
            objects.append(body)
    return Scene(room, tuple(objects), eye, target, light, ambient)


def _room(random):
    side, back = random.uniform(1.8, 2.6), random.uniform(1.1, 2.0)
    floor = _colour(random, saturation=(0.0, 0.3), value=(0.3, 0.9))
    wall = _colour(random, saturation=(0.0, 0.3), value=(0.3, 0.9))

    def slab(surface, half, centre, colour):
        half, centre = np.array(half), np.array(centre)
        return Body(surface, "box", half, centre, _UPRIGHT, colour)

    return (
        slab("floor", (4.0, 4.0, 0.1), (0.0, 0.0, -0.1), floor),
        slab("wall", (4.0, 0.1, 2.0), (0.0, back + 0.1, 2.0), wall),
        slab("wall", (0.1, 4.0, 2.0), (-side - 0.1, 0.0, 2.0), wall),
        slab("wall", (0.1, 4.0, 2.0), (side + 0.1, 0.0, 2.0), wall),
    )


def _colour(random, saturation, value):
    hue, s, v = random.uniform(), random.uniform(*saturation), random.uniform(*value)
    return np.array(colorsys.hsv_to_rgb(hue, s, v))


def _free_place(random, radius, places):
    """x and y of the centre of a free disk on the floor; NaN if none was found."""
    for _ in range(_TRIES):
        place = np.array([random.uniform(-0.75, 0.75), random.uniform(-0.7, 0.8)])
        gaps = [np.hypot(*(p[:2] - place)) - p[2] - radius for p in places]
        if min(gaps, default=1.0) > 0.01:
            return place
    return np.full(2, np.nan)


def _object(random, radius, place, toys, numbers):
    """A body that stands on the floor, inside a disk of the given radius."""
    surface = (*SOLIDS, "toy")[random.randint(len(SOLIDS) + 1)]
    colour = _colour(random, saturation=(0.5, 1.0), value=(0.4, 1.0))
    mesh, rotation = surface, _UPRIGHT
    if surface == "toy":
        toy = int(numbers[random.randint(len(numbers))])
        mesh = f"toy_{toy:03d}"
        # Four normal numbers, normalised, are a uniform rotation.
        rotation = random.normal(size=4)
        rotation /= np.sqrt((rotation**2).sum())
        corners = rotated(toys[toy].vertices, rotation)
        wide = np.hypot(corners[:, 0], corners[:, 1]).max()
        scale = np.full(3, min(radius / wide, 0.5 / np.ptp(corners[:, 2])))
        lowest = corners[:, 2].min() * scale[2]
    else:
        turn, share = random.uniform(0, np.pi), np.radians(random.uniform(30, 60))
        half = random.uniform(0.07, 0.22)
        scale = {
            "box": np.array([radius * np.cos(share), radius * np.sin(share), half]),
            "ball": np.full(3, radius),
            "cylinder": np.array([radius, radius, half]),
            "cone": np.full(3, radius),
        }[surface]
        rotation = np.array([0.0, 0.0, np.sin(turn / 2), np.cos(turn / 2)])
        lowest = -scale[2]
    position = np.array([*place, -lowest])
    return Body(surface, mesh, scale, position, rotation, colour)
