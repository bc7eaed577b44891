"""Original files are found, downloaded from a real server, and refused when they are not what was published."""

import contextlib
import gzip
import hashlib
import http.server
import socket
import threading
import time

import pytest

from tests.refusals import flipped, refusal
from vae_jax.data import originals
from vae_jax.data.cache import Place
from vae_jax.data.originals import Original, locate, originals_of

CONTENT = b"what was published" * 100
PACKED = gzip.compress(CONTENT)


def sha(content):
    return hashlib.sha256(content).hexdigest()


def original(url="http://127.0.0.1:9/files/a.gz"):
    return Original(url, sha(PACKED), sha(CONTENT))


@contextlib.contextmanager
def serving(folder=None, answer=None):
    """Serve a folder, or give every request to `answer`; yields the address."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=folder)

        def do_GET(self):
            answer(self) if answer else super().do_GET()

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("inside", ["", "set"], ids=["in the folder", "in a folder of the set's name"])
@pytest.mark.parametrize("name, content", [("a.gz", PACKED), ("a", CONTENT)], ids=["packed", "unpacked"])
def test_files_are_found_where_users_put_them(place, inside, name, content):
    (place.data_dir / inside).mkdir(exist_ok=True)
    (place.data_dir / inside / name).write_bytes(content)
    assert locate(place, "set", [original()]) == [place.data_dir / inside / name]
    assert not place.cache_dir.exists()


def test_a_folder_of_the_set_comes_first(place):
    """Two sets whose files have equal names lie side by side."""
    for folder, content in ("set", PACKED), (".", b"another set's"):
        (place.data_dir / folder).mkdir(exist_ok=True)
        (place.data_dir / folder / "a.gz").write_bytes(content)
    assert locate(place, "set", [original()]) == [place.data_dir / "set" / "a.gz"]


@pytest.mark.parametrize("position", [0, len(PACKED) // 2, len(PACKED) - 1])
def test_one_flipped_byte_is_refused_by_name(place, position):
    path = place.data_dir / "a.gz"
    path.write_bytes(flipped(PACKED, position))
    text = refusal(locate, place, "set", [original()])
    assert text.startswith(f"{path} is not the published file, or is damaged: it has SHA-256")
    assert "data.name=npz" in text


def test_an_unpacked_file_of_another_content_is_refused(place):
    (place.data_dir / "a").write_bytes(CONTENT + b".")
    assert "its content has SHA-256" in refusal(locate, place, "set", [original()])


@pytest.mark.usefixtures("no_network")
def test_an_unpacked_file_is_not_taken_where_its_sha256_is_not_known(place):
    (place.data_dir / "a").write_bytes(CONTENT)
    assert "a.gz is not in" in refusal(locate, place, "set", [original()._replace(content_sha256="")])


def test_a_missing_file_is_downloaded_and_kept(place, tmp_path):
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.gz").write_bytes(PACKED)
    with serving(tmp_path) as address:
        wanted = [original(f"{address}/files/a.gz")]
        (path,) = locate(place, "set", wanted)
    assert path == place.cache_dir / "downloads" / "set" / "a.gz" and path.read_bytes() == PACKED
    assert place.said == [f"downloading {wanted[0].url}"]
    assert locate(place, "set", wanted) == [path]  # the server is gone
    assert list(path.parent.iterdir()) == [path]


def test_a_download_of_another_content_is_refused_and_not_kept(place, tmp_path):
    (tmp_path / "a.gz").write_bytes(PACKED[:-1] + b"x")
    with serving(tmp_path) as address:
        text = refusal(locate, place, "set", [original(f"{address}/a.gz")])
    assert "downloading" in text and "hash" in text
    assert not [path for path in place.cache_dir.rglob("*") if path.is_file()]


def cut_off(request):
    request.send_response(200)
    request.send_header("Content-Length", str(len(PACKED)))
    request.end_headers()
    request.wfile.write(PACKED[:20])


@pytest.mark.parametrize("answer", [lambda request: request.send_error(404), cut_off], ids=["404", "cut off"])
def test_a_server_that_fails_is_named_and_nothing_is_kept(place, answer):
    with serving(answer=answer) as address:
        assert f"downloading {address}/a.gz failed" in refusal(locate, place, "set", [original(f"{address}/a.gz")])
    assert not [path for path in place.cache_dir.rglob("*") if path.is_file()]


def test_a_silent_server_does_not_hang(place, monkeypatch):
    monkeypatch.setattr(originals, "_STALL_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/a.gz"
        start = time.monotonic()
        assert "failed" in refusal(locate, place, "set", [original(url)])
        assert time.monotonic() - start < 20


@pytest.fixture
def no_network(monkeypatch):
    """A machine on which looking a name up does not end before the test does."""
    over = threading.Event()

    def look_up(*_) -> None:
        over.wait()
        raise OSError("no network")

    for name in "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY":
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(socket, "create_connection", look_up)
    yield
    over.set()


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("folder", [True, False])
def test_without_network_and_files_the_commands_are_told_at_once(place, folder, monkeypatch):
    assert originals._PROBE_SECONDS < 2
    monkeypatch.setattr(originals, "_PROBE_SECONDS", 0.2)
    place = place if folder else Place(None, place.cache_dir, print)
    start = time.monotonic()
    text = refusal(locate, place, "mnist", originals_of("mnist"))
    assert time.monotonic() - start < 10
    where = place.data_dir or "DATA"
    assert f"`wget -P {where}/mnist https://storage.googleapis.com/cvdf-datasets/mnist/train-images" in text
    assert f"give --data_dir={where}" in text and "storage.googleapis.com cannot be reached" in text
    assert not place.cache_dir.exists()


def test_a_folder_that_is_none_is_refused(place, tmp_path):
    gone = Place(tmp_path / "none", place.cache_dir, print)
    assert f"--data_dir={tmp_path}/none is not a folder" in refusal(locate, gone, "set", [original()])


def test_the_table_of_originals_is_whole():
    for name in ("mnist", "fashion_mnist", "kmnist"):
        assert [o.name for o in originals_of(name)] == [o.name for o in originals_of("mnist")]
    for name in ("binarized_mnist", "omniglot_full", "omniglot_small", "dsprites", "cifar10"):
        assert originals_of(name), name
    for row in (o for name in ("mnist", "kmnist", "cifar10", "omniglot_full") for o in originals_of(name)):
        assert len(row.sha256) == 64 and len(row.content_sha256) in (0, 64) and row.url.startswith("http")
