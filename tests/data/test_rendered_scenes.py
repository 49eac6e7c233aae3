"""`rendered_scenes`: what the card says about pixels, labels and splits is true."""

import dataclasses

import numpy as np
import pytest
import tensorflow_datasets as tfds

from keras_mtl.data import pairs
from keras_mtl.data.catalogue import DATASETS
from keras_mtl.data.datasets.rendered_scenes import (
    SIDE,
    SURFACES,
    ScenesConfig,
    meshes,
    scene,
)
from keras_mtl.data.datasets.rendered_scenes import builder as builders
from keras_mtl.data.datasets.rendered_scenes.renderer import VISIBLE, Renderer

SMALL = ScenesConfig(train=12, validation=3, test=4)
UPRIGHT = np.array([0.0, 0.0, 0.0, 1.0])
FLOOR, WALL = SURFACES.index("floor"), SURFACES.index("wall")


@pytest.fixture(scope="module")
def toys():
    return builders.load_toys()


@pytest.fixture(scope="module")
def parts(toys):
    return scene.split_toys(len(toys), seed=0)


@pytest.fixture(scope="module")
def drawn(toys, parts):
    """Forty scenes of each split."""
    return {
        split: [scene.draw_scene(toys, part, split, n, seed=0) for n in range(40)]
        for split, part in parts.items()
    }


@pytest.fixture(scope="module")
def renderer(toys):
    with Renderer(toys) as renderer:
        yield renderer


@pytest.fixture(scope="module")
def photographs(renderer, drawn):
    """Scenes of all splits, with what was rendered of them."""
    scenes = [one for scenes in drawn.values() for one in scenes]
    return [(one, renderer.render(one)) for one in scenes]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    data = tfds.load(
        "rendered_scenes",
        data_dir=folder,
        builder_kwargs={"config": SMALL},
        batch_size=-1,
    )
    return {split: tfds.as_numpy(values) for split, values in data.items()}


def rays(one):
    """Direction through the centre of every pixel, of length 1 along the axis."""
    axis = (one.target - one.eye) / np.linalg.norm(one.target - one.eye)
    right = np.cross(axis, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    up = np.cross(right, axis)
    half = np.tan(np.radians(scene.FIELD_OF_VIEW / 2))
    offset = ((np.arange(SIDE) + 0.5) / SIDE * 2 - 1) * half
    return axis + offset[None, :, None] * right - offset[:, None, None] * up


def placed(kind, place, scale, colour=(1.0, 0.0, 0.0), rotation=UPRIGHT):
    """A solid that stands at a place on the floor."""
    position = np.array([*place, scale[2]])
    return scene.Body(kind, kind, np.array(scale), position, rotation, np.array(colour))


def with_objects(one, *objects):
    """The room of a scene from in front, with other objects."""
    eye, target = np.array([0.0, -1.6, 1.0]), np.array([0.0, 0.0, 0.15])
    return dataclasses.replace(one, objects=objects, eye=eye, target=target)


def volume(mesh):
    a, b, c = np.moveaxis(mesh.vertices[mesh.faces], 1, 0)
    return np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("box", 8.0),
        ("cylinder", 2 * np.pi),
        ("cone", 2 * np.pi / 3),
        ("ball", 4 * np.pi / 3),
    ],
)
def test_solids_are_closed_and_face_outwards(kind, expected):
    mesh = scene.SOLIDS[kind]
    # 32 sides have 0.6 % less than a circle, and a ball of 16 rings 2 %.
    assert volume(mesh) == pytest.approx(expected, rel=0.025)
    edges = [tuple(face[[i, (i + 1) % 3]]) for face in mesh.faces for i in range(3)]
    assert len(set(edges)) == len(edges)
    assert {(b, a) for a, b in edges} == set(edges)
    corners = mesh.vertices[mesh.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (np.einsum("ij,ij->i", normals, corners.mean(axis=1)) > 0).all()


def test_obj_files_are_read_and_written():
    square = "o x\nv 0 0 5\nv 4 0 5\nv 4 4 5\nv 0 4 5\nvn 0 0 1\nf 1//1 2//1 3//1 4//1"
    mesh = meshes.from_obj(square)
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3]]
    np.testing.assert_allclose(np.linalg.norm(mesh.vertices, axis=1), 1.0)
    np.testing.assert_allclose(mesh.vertices.sum(axis=0), 0.0)
    again = meshes.from_obj(mesh.to_obj())
    np.testing.assert_array_equal(again.faces, mesh.faces)
    np.testing.assert_allclose(again.vertices, mesh.vertices, atol=1e-6)


@pytest.mark.parametrize("text", ["v 0 0 0\n", "v 0 0 0\nv 1 0 0\nf 1 2\n"])
def test_obj_files_without_triangles(text):
    with pytest.raises(ValueError, match="three corners or more"):
        meshes.from_obj(text)


def test_no_toy_is_in_two_splits(toys, parts, drawn):
    assert len(toys) == builders.NUM_TOYS
    assert sorted(np.concatenate(list(parts.values()))) == list(range(len(toys)))
    for split, scenes in drawn.items():
        bodies = [body for one in scenes for body in one.objects]
        used = {int(b.mesh.split("_")[1]) for b in bodies if b.surface == "toy"}
        assert len(used) > 10
        assert used <= set(parts[split].tolist())


def test_objects_stand_on_the_floor_and_apart(toys, drawn):
    for scenes in drawn.values():
        for one in scenes:
            disks = []
            for body in one.objects:
                toy = body.surface == "toy"
                mesh = toys[int(body.mesh[4:])] if toy else scene.SOLIDS[body.mesh]
                points = scene.rotated(mesh.vertices * body.scale, body.rotation)
                points += body.position
                assert points[:, 2].min() == pytest.approx(0.0, abs=1e-9)
                wide = np.hypot(*(points - body.position)[:, :2].T).max()
                disks.append((*body.position[:2], wide))
            for i, (x, y, radius) in enumerate(disks):
                for other in disks[:i]:
                    gap = np.hypot(x - other[0], y - other[1])
                    assert gap > radius + other[2]


def test_scenes_do_not_depend_on_each_other(toys, parts, drawn, renderer):
    again = scene.draw_scene(toys, parts["test"], "test", 7, seed=0)
    first = renderer.render(again)
    renderer.render(drawn["train"][3])
    second = renderer.render(drawn["test"][7])
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])
    for other in (
        scene.draw_scene(toys, parts["test"], "test", 8, seed=0),
        scene.draw_scene(toys, parts["test"], "validation", 7, seed=0),
        scene.draw_scene(toys, parts["test"], "test", 7, seed=1),
    ):
        assert (other.eye != again.eye).all()


def test_depth_of_the_room_is_that_of_geometry(photographs):
    for one, made in photographs:
        depth, surface = made["depth"], made["surface"][:, :, 0]
        ray = rays(one)
        floor, back, left, right = one.room
        to_floor = -one.eye[2] / ray[:, :, 2]
        planes = [
            (back.position[1] - back.scale[1] - one.eye[1]) / ray[:, :, 1],
            (left.position[0] + left.scale[0] - one.eye[0]) / ray[:, :, 0],
            (right.position[0] - right.scale[0] - one.eye[0]) / ray[:, :, 0],
        ]
        nearest = np.min([np.where(p > 0, p, np.inf) for p in planes], axis=0)
        for number, expected in ((FLOOR, to_floor), (WALL, nearest)):
            off = np.abs(depth - expected)[surface == number]
            assert off.size > 50
            assert off.max() < 1e-3
        room = (surface == FLOOR) | (surface == WALL)
        at_floor = (to_floor > 0) & (to_floor < nearest)
        assert ((surface == FLOOR) == at_floor)[room].mean() > 0.999
        assert floor.position[2] + floor.scale[2] == 0.0


def test_a_ball_is_where_geometry_has_it(renderer, drawn):
    radius, centre = 0.25, np.array([0.1, -0.2, 0.25])
    ball = placed("ball", centre[:2], (radius,) * 3)
    one = with_objects(drawn["train"][0], ball)
    made = renderer.render(one)
    ray, gap = rays(one), one.eye - centre
    a, b = (ray**2).sum(axis=2), (ray * gap).sum(axis=2)
    root = b**2 - a * ((gap**2).sum() - radius**2)
    hit = root > 0
    found = made["surface"][:, :, 0] == SURFACES.index("ball")
    # Triangles lie inside the ball: a ring of pixels at its edge may be missing.
    assert hit[found].mean() > 0.99
    assert found[hit].mean() > 0.95
    depth = (-b - np.sqrt(np.maximum(root, 0))) / a
    inner = found & (root > 0.2 * root.max())
    assert np.abs(depth - made["depth"])[inner].max() < 0.02
    assert made["count"] == 1


def test_images_show_the_colours(renderer, drawn):
    red = placed("box", (-0.3, 0.0), (0.15, 0.15, 0.2), (1.0, 0.0, 0.0))
    blue = placed("cylinder", (0.3, 0.0), (0.15, 0.15, 0.2), (0.0, 0.0, 1.0))
    made = renderer.render(with_objects(drawn["train"][0], red, blue))
    for number, channel, surface in ((1, 0, "box"), (2, 2, "cylinder")):
        pixels = made["instance"][:, :, 0] == number
        assert pixels.sum() > 50
        assert set(made["surface"][pixels, 0]) == {SURFACES.index(surface)}
        image = made["image"][pixels].astype(int)
        assert (image.argmax(axis=1) == channel).all()
        # The left one is on the left.
        assert (np.nonzero(pixels)[1].mean() < SIDE / 2) == (surface == "box")


def test_hidden_objects_do_not_count(renderer, drawn):
    wall = placed("box", (0.0, -0.3), (0.4, 0.1, 0.35))
    ball = placed("ball", (0.0, 0.2), (0.12,) * 3)
    behind = renderer.render(with_objects(drawn["train"][0], wall, ball))
    assert behind["count"] == 1
    beside = placed("ball", (0.6, 0.2), (0.12,) * 3)
    made = renderer.render(with_objects(drawn["train"][0], wall, beside))
    assert made["count"] == 2


def test_labels_agree(photographs):
    counts, kinds = [], set()
    for one, made in photographs:
        instance, surface = made["instance"][:, :, 0], made["surface"][:, :, 0]
        assert ((instance == 0) == (surface <= WALL)).all()
        for number, body in enumerate(one.objects, 1):
            seen = set(surface[instance == number].tolist())
            assert seen <= {SURFACES.index(body.surface)}
            kinds |= seen
        assert instance.max() <= len(one.objects) <= scene.MAX_OBJECTS
        pixels = np.bincount(instance.ravel(), minlength=9)[1:]
        assert made["count"] == (pixels >= VISIBLE).sum()
        counts.append(int(made["count"]))
        assert made["depth"].dtype == np.float32
        assert made["depth"].min() > 0.3 and made["depth"].max() < 7.0
    assert kinds == set(range(2, len(SURFACES)))
    assert set(counts) >= set(range(1, 8))


def test_a_view_beyond_the_room_is_refused(renderer, drawn):
    one = drawn["train"][0]
    outside = dataclasses.replace(one, target=one.eye + np.array([0.0, -1.0, 0.5]))
    with pytest.raises(ValueError, match="fills the camera's view"):
        renderer.render(outside)


def test_prepared_twice_is_the_same_bytes(tmp_path):
    listings = []
    for name in ("one", "two"):
        config = ScenesConfig(train=3, validation=2, test=2)
        builder = builders.RenderedScenes(data_dir=tmp_path / name, config=config)
        builder.download_and_prepare()
        files = sorted((tmp_path / name).rglob("*.tfrecord*"))
        assert len(files) == 3
        listings.append({path.name: path.read_bytes() for path in files})
    assert listings[0] == listings[1]


def test_loaded_examples_are_the_rendered_ones(prepared, renderer, drawn):
    for split, rows in prepared.items():
        assert sorted(rows["scene"]) == list(range(getattr(SMALL, split)))
        for row, number in enumerate(rows["scene"]):
            made = renderer.render(drawn[split][number])
            for name, values in made.items():
                np.testing.assert_array_equal(rows[name][row], values)


def test_config_names_what_it_makes(tmp_path):
    assert ScenesConfig().name == "4000-500-1000-seed-0"
    assert ScenesConfig(test=9, seed=3).name == "4000-500-9-seed-3"
    defaults = {split: getattr(ScenesConfig(), split) for split in scene.SPLITS}
    assert DATASETS["rendered_scenes"].splits == defaults
    for config in (None, "4000-500-1000-seed-0", ScenesConfig()):
        builder = tfds.builder("rendered_scenes", data_dir=tmp_path, config=config)
        assert builder.builder_config.name == "4000-500-1000-seed-0"


@pytest.mark.parametrize("wrong", [{"train": 0}, {"test": 1.5}, {"seed": -1}])
def test_impossible_configs(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=f"Expected `{name}`"):
        ScenesConfig(**wrong)


def test_info_is_a_card(tmp_path):
    info = tfds.builder("rendered_scenes", data_dir=tmp_path).info
    for word in ("SYNTHETIC", "Source:", "Licence:", "Splits:", "Leaks", "pybullet"):
        assert word in info.description
    assert info.features["surface"].names == list(SURFACES)
    assert info.features["image"].shape == (SIDE, SIDE, 3)


def test_other_meshes_are_refused(monkeypatch):
    monkeypatch.setattr(builders.fetcher, "read_files", lambda *_: {"a.obj": b"v 0"})
    with pytest.raises(ValueError, match="Expected the 1,000 meshes") as caught:
        builders.load_toys()
    assert "Received: 1 meshes" in str(caught.value)


def test_pairs_for_fit(prepared):
    import tensorflow as tf

    data = tf.data.Dataset.from_tensor_slices(prepared["train"])
    labels = ("surface", "depth", "count")
    x, y = next(iter(pairs(data, labels=labels).batch(5)))
    assert x.shape == (5, SIDE, SIDE, 3)
    assert float(np.max(x)) <= 1.0
    assert {task: label.shape.as_list() for task, label in y.items()} == {
        "surface": [5, SIDE, SIDE, 1],
        "depth": [5, SIDE, SIDE],
        "count": [5],
    }
