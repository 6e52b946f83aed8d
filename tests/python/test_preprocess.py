# SPDX-License-Identifier: Apache-2.0
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


LIBRARIES = PROGRAM.parents[2] / "src" / "calib" / "picture_libraries.h"


def needs_library(name):
    if f"#define LDNQ_HAS_{name}" not in LIBRARIES.read_text():
        pytest.skip(f"built without {name}")


def assert_read_as_by_pillow(path, tmp_path, channels, most):
    want = Image.open(path).convert("L" if channels == 1 else "RGB")
    got = read(path, tmp_path, "--scale", 1, channels=channels)[0]
    assert got.shape == planes(want).shape
    assert np.abs(got - planes(want).astype(np.float32)).max() <= most


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode, options", [
    ("RGB", {"lossless": True}), ("RGB", {"quality": 80}), ("L", {"quality": 80}),
    ("RGBA", {"lossless": True, "exact": True})])
def test_webp_should_be_what_pillow_reads(mode, options, channels, tmp_path):
    needs_library("WEBP")
    picture(50, 41, "RGB").convert(mode).save(tmp_path / "x.webp", **options)
    assert_read_as_by_pillow(tmp_path / "x.webp", tmp_path, channels, 1)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode, compression", [
    ("RGB", None), ("RGB", "tiff_lzw"), ("RGB", "tiff_adobe_deflate"), ("RGB", "packbits"),
    ("RGB", "jpeg"), ("L", None), ("L", "tiff_lzw"), ("P", None), ("1", "group4"), ("RGBA", None)])
def test_tiff_should_be_what_pillow_reads(mode, compression, channels, tmp_path):
    needs_library("TIFF")
    picture(50, 41, "RGB").convert(mode).save(tmp_path / "x.tif", compression=compression)
    assert_read_as_by_pillow(tmp_path / "x.tif", tmp_path, channels, 2 if compression == "jpeg" else 0)


@pytest.mark.parametrize("name", ["x.webp", "x.tif"])
def test_a_damaged_file_should_be_refused_wherever_it_ends(name, tmp_path):
    needs_library("WEBP" if name == "x.webp" else "TIFF")
    picture(20, 10).save(tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    for size in range(0, len(whole) - 2, 1 + len(whole) // 40):
        (tmp_path / name).write_bytes(whole[:size])
        done = subprocess.run([PROGRAM, tmp_path / name, "3", "0", "0", tmp_path / "o.npy"],
                              capture_output=True, text=True, check=False)
        assert done.returncode == 6 and name in done.stderr, (size, done)


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


# ---- other layouts, filters and frames


def read_as(data, tmp_path, *options, size=(0, 0), channels=3):
    out = tmp_path / "out.npy"
    done = subprocess.run([PROGRAM, data, str(channels), *map(str, size), out,
                           *map(str, options)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return np.load(out)


def test_channels_may_be_last(tmp_path):
    picture(31, 19).save(tmp_path / "x.png")
    first = read(tmp_path / "x.png", tmp_path, "--mean", joined(MEAN), "--std", joined(STD))
    last = read_as(tmp_path / "x.png", tmp_path, "--mean", joined(MEAN), "--std", joined(STD),
                   "--layout", "last")
    assert (last == first.transpose(0, 2, 3, 1)).all()


@pytest.mark.parametrize("options", [(), ("--color", "bgr")], ids=["rgb", "bgr"])
def test_inputs_of_bytes_should_get_the_pixels(options, tmp_path):
    image = picture(20, 12)
    image.save(tmp_path / "x.png")
    bytes_ = read_as(tmp_path / "x.png", tmp_path, "--layout", "last", "--dtype", "uint8", *options)
    assert bytes_.dtype == np.uint8
    pixels = np.asarray(image)
    assert (bytes_[0] == (pixels[..., ::-1] if options else pixels)).all()


def test_bgr_should_keep_each_channels_mean(tmp_path):
    picture(20, 12).save(tmp_path / "x.png")
    normalized = ("--mean", joined(MEAN), "--std", joined(STD))
    rgb = read(tmp_path / "x.png", tmp_path, *normalized)
    bgr = read(tmp_path / "x.png", tmp_path, *normalized, "--color", "bgr")
    assert (bgr == rgb[:, ::-1]).all()


@pytest.mark.parametrize("size", [(50, 40), (13, 90), (200, 33), (7, 5)], ids=str)
@pytest.mark.parametrize("name", ["BILINEAR", "BICUBIC"])
def test_stretched_pictures_should_be_pillows(name, size, tmp_path):
    image = picture(61, 47)
    image.save(tmp_path / "x.png")
    got = read(tmp_path / "x.png", tmp_path, "--scale", 1, "--stretch", f"{size[0]}x{size[1]}",
               *(("--filter", "bicubic") if name == "BICUBIC" else ()))
    method = Image.Resampling[name]
    want = image.resize((size[0], image.height), method).resize(size, method)
    assert (got[0] == planes(want)).all()


@pytest.mark.parametrize("width, height", [(61, 47), (47, 61), (20, 90), (64, 48)])
def test_letterbox_should_be_that_of_ultralytics(width, height, tmp_path):
    image = picture(width, height)
    image.save(tmp_path / "x.png")
    got = read(tmp_path / "x.png", tmp_path, "--scale", 1, "--letterbox", "64x48")[0]
    ratio = min(48 / height, 64 / width)
    size = round(width * ratio), round(height * ratio)
    left, top = round((64 - size[0]) / 2 - .1), round((48 - size[1]) / 2 - .1)
    want = np.full((3, 48, 64), 114)
    method = Image.Resampling.BILINEAR
    want[:, top:top + size[1], left:left + size[0]] = planes(
        image.resize((size[0], height), method).resize(size, method))
    assert (got == want).all()


@pytest.mark.parametrize("name", ["x.jpg", "x.webp", "x.tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_should_turn_pictures_where_asked(orientation, name, tmp_path):
    if name != "x.jpg":
        needs_library("WEBP" if name == "x.webp" else "TIFF")
    image = picture(40, 24).quantize(4).convert("RGB")
    exif = Image.Exif()
    exif[0x112] = orientation
    image.save(tmp_path / name, exif=exif, quality=95,
               **({"lossless": True} if name == "x.webp" else {}))
    from PIL import ImageOps  # noqa: PLC0415

    # Pillow turns a TIFF as it reads it.
    stored = Image.open(tmp_path / name) if name == "x.jpg" else image
    stored.getexif()[0x112] = orientation
    plain = read(tmp_path / name, tmp_path, "--scale", 1)[0]
    turned = read(tmp_path / name, tmp_path, "--scale", 1, "--exif", "rotate")[0]
    assert abs(plain - planes(stored)).max() <= 3
    assert turned.shape == planes(ImageOps.exif_transpose(stored)).shape
    assert abs(turned - planes(ImageOps.exif_transpose(stored))).max() <= 3


def test_cmyk_should_be_pillows(tmp_path):
    picture(48, 32).convert("CMYK").save(tmp_path / "x.jpg", quality=95)
    got = read(tmp_path / "x.jpg", tmp_path, "--scale", 1)[0]
    assert abs(got - planes(Image.open(tmp_path / "x.jpg").convert("RGB"))).max() <= 3


def test_16_bits_should_be_scaled(tmp_path):
    values = np.linspace(0, 65535, 96).reshape(8, 12).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "x.png")
    got = read(tmp_path / "x.png", tmp_path, "--scale", 1, channels=1)[0, 0]
    assert (got == np.round(values / 257)).all()


PRESETS = {"imagenet": (MEAN, STD, "BILINEAR", .875), "timm": (MEAN, STD, "BICUBIC", .875),
           "timm-inception": ((.5,) * 3, (.5,) * 3, "BICUBIC", .875),
           "clip": ((.48145466, .4578275, .40821073), (.26862954, .26130258, .27577711),
                    "BICUBIC", 1)}


@pytest.mark.parametrize("size", [0, 32], ids=["open", "32"])
@pytest.mark.parametrize("name", PRESETS)
def test_presets_should_be_what_networks_are_trained_with(name, size, tmp_path):
    image = picture(310, 260)
    image.save(tmp_path / "x.png")
    mean, std, filter_name, share = PRESETS[name]
    crop = size or 224
    shorter = int(crop / share)
    method = Image.Resampling[filter_name]
    across = image.resize((new_size(image, shorter)[0], image.height), method)
    want = planes(cropped(across.resize(new_size(image, shorter), method), crop)) / 255
    want = (want - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))
    got = read_as(tmp_path / "x.png", tmp_path, "--preset", name, size=(size, size))[0]
    assert np.allclose(got, want, atol=1e-5)


def test_yolo_and_none_should_leave_the_pixels(tmp_path):
    image = picture(32, 24)
    image.save(tmp_path / "x.png")
    framed = read_as(tmp_path / "x.png", tmp_path, "--preset", "yolo", size=(32, 32))[0]
    assert np.allclose(framed[:, 4:28], planes(image) / 255)
    assert np.allclose(framed[:, :4], 114 / 255)
    assert (read(tmp_path / "x.png", tmp_path, "--preset", "none")[0] == planes(image)).all()
