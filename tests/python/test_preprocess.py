"""Pictures go into a network as Pillow, torchvision and NumPy would put them there.

The program tests/calib/read_samples of the build folder (LDNQ_BUILD, else build/)
writes what ldnq reads; here the same is done with Pillow and NumPy. --scale 1
leaves the 8-bit values as they are, so that they can be compared one by one.
"""

import os
import subprocess
from pathlib import Path

import pytest

np = pytest.importorskip("numpy")
Image = pytest.importorskip("PIL.Image")

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(os.environ.get("LDNQ_BUILD", ROOT / "build")) / "tests" / "calib" / "read_samples"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

if not PROGRAM.exists():
    pytest.skip(f"{PROGRAM} is not built", allow_module_level=True)


def read(data, tmp_path, *options, channels=3):
    """The samples (S,C,H,W); sizes are left open."""
    out = tmp_path / "out.npy"
    command = [PROGRAM, data, str(channels), "0", "0", out, *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return np.load(out)


def joined(values):
    return ",".join(map(str, values))


def picture(width, height, mode="RGB", seed=0):
    """Smooth where real pictures are smooth, with noise and hard edges on top."""
    rng = np.random.default_rng(seed)
    channels = len(mode)
    y, x = np.mgrid[0:height, 0:width]
    planes = [127 + 100 * np.sin(x / (3 + c) + y / (5 + c)) for c in range(channels)]
    pixels = np.stack(planes, -1) + rng.normal(0, 12, (height, width, channels))
    pixels[height // 3 : height // 2, width // 4 : width // 2] = 255
    pixels = pixels.clip(0, 255).astype(np.uint8)
    return Image.fromarray(pixels.squeeze(-1) if channels == 1 else pixels)


# ---- as torchvision.transforms does it on Pillow images


def new_size(image, size):
    width, height = image.size
    short, long = min(width, height), max(width, height)
    new_long = int(size * long / short)
    return (size, new_long) if width <= height else (new_long, size)


def resized(image, size):
    return image.resize(new_size(image, size), Image.Resampling.BILINEAR)


def resized_across_then_down(image, size):
    """In two steps, as Pillow chooses the order by cost when it is left to it."""
    width, height = new_size(image, size)
    across = image.resize((width, image.height), Image.Resampling.BILINEAR)
    return across.resize((width, height), Image.Resampling.BILINEAR)


def cropped(image, size):
    width, height = image.size
    top, left = int(round((height - size) / 2.0)), int(round((width - size) / 2.0))
    return image.crop((left, top, left + size, top + size))


def planes(image):
    """(C,H,W) of the 8-bit values."""
    pixels = np.asarray(image)
    return (pixels[..., None] if pixels.ndim == 2 else pixels).transpose(2, 0, 1)


# ---- pixels


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P", "1"])
@pytest.mark.parametrize("channels", [1, 3])
def test_png_of_every_mode_should_be_what_pillow_converts_it_to(tmp_path, mode, channels):
    image = picture(37, 23, "RGB").convert(mode)
    image.save(tmp_path / "x.png")
    want = image.convert("L" if channels == 1 else "RGB")  # which drops alpha as we do
    got = read(tmp_path / "x.png", tmp_path, "--scale", 1, channels=channels)
    np.testing.assert_array_equal(got[0], planes(want))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
def test_jpeg_should_be_what_pillow_reads(tmp_path, channels, options):
    picture(50, 41).save(tmp_path / "x.jpg", quality=90, **options)
    want = Image.open(tmp_path / "x.jpg").convert("L" if channels == 1 else "RGB")
    got = read(tmp_path / "x.jpg", tmp_path, "--scale", 1, channels=channels)
    # Pillow brings a libjpeg of its own, whose arithmetic may differ in the last bit.
    assert np.abs(got[0] - planes(want).astype(np.float32)).max() <= 2


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("size", [1, 7, 16, 32, 33, 41, 100, 224])
@pytest.mark.parametrize("shape", [(60, 41), (41, 60), (33, 33), (500, 40), (3, 100), (1, 1)])
def test_resize_should_equal_pillows_bilinear(tmp_path, mode, size, shape):
    image = picture(*shape, mode)
    image.save(tmp_path / "x.png")
    channels = 3 if mode == "RGB" else 1
    got = read(tmp_path / "x.png", tmp_path, "--scale", 1, "--resize", size, channels=channels)
    np.testing.assert_array_equal(got[0], planes(resized_across_then_down(image, size)))
    assert np.abs(got[0] - planes(resized(image, size)).astype(np.float32)).max() <= 1


@pytest.mark.parametrize("shape", [(8, 8), (9, 8), (8, 9), (10, 11), (11, 13), (14, 15)])
def test_crop_should_stand_where_torchvision_puts_it(tmp_path, shape):
    image = picture(*shape)
    image.save(tmp_path / "x.png")
    got = read(tmp_path / "x.png", tmp_path, "--scale", 1, "--crop", 8)
    np.testing.assert_array_equal(got[0], planes(cropped(image, 8)))


def test_whole_way_should_equal_the_usual_imagenet_transform(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    images = [picture(300 + 17 * i, 280 - 13 * i, seed=i) for i in range(4)]
    for i, image in enumerate(images):
        image.save(folder / f"{i}.png")
    options = ["--resize", 256, "--crop", 224, "--mean", joined(MEAN), "--std", joined(STD)]
    got = read(folder, tmp_path, *options)
    for i, image in enumerate(images):
        pixels = planes(cropped(resized_across_then_down(image, 256), 224)) / 255
        want = (pixels - np.reshape(MEAN, (3, 1, 1))) / np.reshape(STD, (3, 1, 1))
        np.testing.assert_allclose(got[i], want, rtol=1e-6, atol=2e-6)


def test_number_of_threads_should_not_matter(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(20):
        picture(40 + i, 30, seed=i).save(folder / f"{i:02}.png")
    options = ["--resize", 16, "--crop", 16, "--threads"]
    one, four = (read(folder, tmp_path, *options, threads) for threads in (1, 4))
    np.testing.assert_array_equal(one, four)


# ---- arrays


@pytest.mark.parametrize("dtype", "f2 f4 f8 i1 i2 i4 i8 u1 u2 u4 u8 ?".split())
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_of_every_type_should_be_read_as_numpy_reads_it(tmp_path, dtype, order):
    rng = np.random.default_rng(0)
    array = np.array(rng.integers(0, 100, (5, 3, 4, 6)), dtype=dtype, order=order)
    np.save(tmp_path / "x.npy", array)
    np.testing.assert_array_equal(read(tmp_path / "x.npy", tmp_path), array.astype(np.float32))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_should_be_read_as_numpy_reads_it(tmp_path, save):
    rng = np.random.default_rng(0)
    array = np.asfortranarray(rng.normal(size=(5, 3, 4, 6)))
    save(tmp_path / "x.npz", input=array, labels=np.arange(5))
    np.testing.assert_array_equal(read(tmp_path / "x.npz", tmp_path), array.astype(np.float32))


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_npy_versions_should_all_be_read(tmp_path, version):
    array = np.arange(24, dtype=np.float32).reshape(1, 1, 4, 6)
    with open(tmp_path / "x.npy", "wb") as file:
        np.lib.format.write_array(file, array, version=version)
    np.testing.assert_array_equal(read(tmp_path / "x.npy", tmp_path, channels=1), array)
