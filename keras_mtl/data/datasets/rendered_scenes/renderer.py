"""Renders scenes with Bullet's software renderer: on the CPU, without a display."""

import pathlib
import tempfile
from collections.abc import Mapping, Sequence

import numpy as np

from keras_mtl.data.datasets.rendered_scenes import meshes
from keras_mtl.data.datasets.rendered_scenes.scene import (
    FIELD_OF_VIEW,
    SIDE,
    SOLIDS,
    SURFACES,
    Body,
    Scene,
)
from keras_mtl.data.extensions import load_extension

VISIBLE = 16  # pixels of an object that must show for it to be counted
_NEAR, _FAR = 0.1, 10.0


class Renderer:
    """Renders scenes, one after the other; a context manager.

    Args:
        toys: Meshes of the toys by number.

    Raises:
        FetchError: On entering, if pybullet cannot be had; the message says why.

    Example (downloads 103 MB if pybullet is neither installed nor cached):

    ```python
    with Renderer(toys) as renderer:
        image = renderer.render(scene)["image"]
    ```
    """

    def __init__(self, toys: Mapping[int, meshes.Mesh] | Sequence[meshes.Mesh]):
        self.toys = toys

    def __enter__(self) -> "Renderer":
        self._bullet = load_extension("pybullet", "pybullet")
        # Meshes go through files: Bullet keeps those, while every mesh that it is given
        # as numbers takes memory for good.
        self._folder = tempfile.TemporaryDirectory(prefix="keras_mtl-")
        self._client = self._bullet.connect(self._bullet.DIRECT)
        return self

    def __exit__(self, *error) -> None:
        self._bullet.disconnect(self._client)
        self._folder.cleanup()

    def render(self, scene: Scene) -> dict[str, np.ndarray]:
        """Renders a scene.

        Args:
            scene: The `Scene`.

        Returns:
            Dict of "image" `(64, 64, 3)` uint8; "surface" `(64, 64, 1)` uint8, indices
            of `SURFACES`; "instance" `(64, 64, 1)` uint8, 0 for the room and from 1 the
            objects in their order; "depth" `(64, 64)` float32, metres along the
            camera's axis, to the millimetre; "count" int64, objects of which at least
            16 pixels show.

        Raises:
            ValueError: If the camera sees beyond the room.
        """
        bodies = (*scene.room, *scene.objects)
        self._bullet.resetSimulation(physicsClientId=self._client)
        number = {self._add(body): index for index, body in enumerate(bodies)}
        colours, distance, found = self._photograph(scene)
        if not set(np.unique(found)) <= set(number):
            raise ValueError(
                "Expected a room that fills the camera's view. "
                f"Received: scene={scene!r}"
            )
        index = np.vectorize(number.__getitem__, otypes=[np.int64])(found)
        surfaces = np.array([SURFACES.index(body.surface) for body in bodies])
        instance = np.maximum(index - len(scene.room) + 1, 0)
        pixels = np.bincount(instance.ravel(), minlength=len(scene.objects) + 1)
        return {
            "image": colours,
            "surface": surfaces[index][:, :, None].astype(np.uint8),
            "instance": instance[:, :, None].astype(np.uint8),
            "depth": (np.rint(distance * 1000) / 1000).astype(np.float32),
            "count": np.sum(pixels[1:] >= VISIBLE),
        }

    def _add(self, body: Body) -> int:
        shape = self._bullet.createVisualShape(
            self._bullet.GEOM_MESH,
            fileName=self._file(body.mesh),
            meshScale=body.scale.tolist(),
            rgbaColor=[*body.colour.tolist(), 1.0],
            physicsClientId=self._client,
        )
        return self._bullet.createMultiBody(
            baseMass=0,
            baseVisualShapeIndex=shape,
            basePosition=body.position.tolist(),
            baseOrientation=body.rotation.tolist(),
            physicsClientId=self._client,
        )

    def _file(self, name: str) -> str:
        path = pathlib.Path(self._folder.name) / f"{name}.obj"
        if not path.exists():
            solid = name in SOLIDS
            mesh = SOLIDS[name] if solid else self.toys[int(name.split("_")[1])]
            path.write_text(mesh.to_obj())
        return str(path)

    def _photograph(self, scene):
        """Colours, distances in metres, and the numbers of the bodies."""
        view = self._bullet.computeViewMatrix(
            scene.eye.tolist(), scene.target.tolist(), [0.0, 0.0, 1.0]
        )
        # This renderer looks through the lower left corner of a pixel; half a pixel of
        # shift makes that the centre.
        half = _NEAR * np.tan(np.radians(FIELD_OF_VIEW / 2))
        low, high = half * (1 / SIDE - 1), half * (1 / SIDE + 1)
        projection = self._bullet.computeProjectionMatrix(
            low, high, low, high, _NEAR, _FAR
        )
        _, _, colours, buffer, found = self._bullet.getCameraImage(
            SIDE,
            SIDE,
            view,
            projection,
            lightDirection=scene.light.tolist(),
            lightAmbientCoeff=scene.ambient,
            lightDiffuseCoeff=1.0 - scene.ambient,
            lightSpecularCoeff=0.0,
            shadow=0,
            renderer=self._bullet.ER_TINY_RENDERER,
            physicsClientId=self._client,
        )
        square = (SIDE, SIDE)
        colours = np.reshape(colours, (*square, 4))[:, :, :3].astype(np.uint8)
        # From the depth buffer's hyperbolic scale.
        buffer = np.reshape(buffer, square).astype(np.float64)
        distance = _FAR * _NEAR / (_FAR - (_FAR - _NEAR) * buffer)
        return colours, distance, np.reshape(found, square)
