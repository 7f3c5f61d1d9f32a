"""Texts: what ships, what is downloaded, what a reader brings, and what is refused."""

import hashlib
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from minigpt_core import corpus, load_corpus
from minigpt_core.tokenizer import END_OF_TEXT


def is_chinese(character: str) -> bool:
    return "\u4e00" <= character <= "\u9fff" or character in "，。：、？！“”\n"


# In the package


def test_sample_is_about_400_characters_english_first_and_chinese_last():
    text = load_corpus("sample")
    assert 350 <= len(text) <= 450
    tail = text[-(len(text) // 10) :]
    assert len(tail) < 64, "shorter than the article's block_size"
    assert all(is_chinese(c) for c in tail)
    assert not any(is_chinese(c) and c != "\n" for c in text[: len(text) // 2])


def test_most_of_the_tail_of_sample_never_occurs_before_it():
    """The article's lesson: a last tenth whose characters training does not see."""
    text = load_corpus("sample")
    size = len(text) // 10
    before = set(text[:-size])
    assert sum(c not in before for c in text[-size:]) > size / 4


def test_tales_is_plain_text_that_ends_with_the_end_of_text():
    if not (corpus.FOLDER / "tales.txt").exists():
        pytest.skip("corpus not available: tales is not written yet")
    text = load_corpus("tales")
    assert len(text) > 10_000 and text.isascii() and text.endswith(END_OF_TEXT + "\n")


@pytest.mark.parametrize("name", corpus.BUNDLED)
def test_what_ships_is_normalised(name):
    path = corpus.FOLDER / f"{name}.txt"
    if not path.exists():
        pytest.skip(f"corpus not available: {name} is not written yet")
    assert load_corpus(name) == path.read_bytes().decode("utf-8")
    assert not set(load_corpus(name)) & set("\r\0\t\ufeff\u2581\u2585")


def test_alice_is_the_expected_text(alice):
    assert len(alice) == 148_480  # 152,089 bytes less 3,608 carriage returns and the final U+001A
    assert "\r" not in alice and "\x1a" not in alice and "Down the Rabbit-Hole".upper() in alice.upper()


# A file of the reader's

TEXT = "Mina: 小猫!\nline two\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings_that_announce_themselves_need_no_argument(encoding, tmp_path):
    (tmp_path / "a.txt").write_bytes(TEXT.encode(encoding))
    assert load_corpus(tmp_path / "a.txt") == TEXT
    assert load_corpus(str(tmp_path / "a.txt")) == TEXT


@pytest.mark.parametrize("mark, order", [(b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")])
def test_both_byte_orders_of_utf16_are_read(mark, order, tmp_path):
    (tmp_path / "a.txt").write_bytes(mark + TEXT.encode(order))
    assert load_corpus(tmp_path / "a.txt") == TEXT


@pytest.mark.parametrize("encoding", ["gb18030", "gbk", "utf-8", "utf-16", "utf-16-be", "big5"])
def test_an_encoding_can_be_named(encoding, tmp_path):
    text = TEXT.replace("猫", "山")
    (tmp_path / "a.txt").write_bytes(text.encode(encoding))
    assert load_corpus(tmp_path / "a.txt", encoding=encoding) == text


def test_a_byte_order_mark_is_no_text_even_when_the_encoding_is_named(tmp_path):
    for encoding in ("utf-8", "gb18030", "utf-16-le"):
        (tmp_path / "a.txt").write_bytes(("\ufeff" + TEXT).encode(encoding))
        assert load_corpus(tmp_path / "a.txt", encoding=encoding) == TEXT


@pytest.mark.parametrize(
    "raw, text",
    [
        (b"a\r\nb\rc\n\r\nd", "a\nb\nc\n\nd"),
        (b"a\r\r\nb\n", "a\n\nb\n"),
        (b"a\r\n\x1a", "a\n"),
        (b"a\x1a", "a"),
        (b"a\x1ab", "a\x1ab"),
        (b" a \t\n\n", " a \t\n\n"),
    ],
)
def test_line_ends_become_newlines_and_the_final_end_of_file_mark_goes(raw, text, tmp_path):
    (tmp_path / "a.txt").write_bytes(raw)
    assert load_corpus(tmp_path / "a.txt") == text


def refused(name, match: str, **options) -> None:
    with pytest.raises(ValueError, match=match) as caught:
        load_corpus(name, **options)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 1000


@pytest.mark.parametrize("raw", [b"", b" \r\n ", b"\xef\xbb\xbf", b"\xff\xfe", b"\x1a"])
def test_an_empty_file_is_refused(raw, tmp_path):
    (tmp_path / "a.txt").write_bytes(raw)
    refused(tmp_path / "a.txt", "a.txt is empty")


@pytest.mark.parametrize(
    "raw",
    [
        b"abc\xff\xd8",
        b"abc\0def",
        "小猫看着灯。".encode("gb18030"),
        b"\xff\xfea",
        b"\xff\xfe\x00\xd8\x41\x00",
        bytes(range(256)),
        "Mina".encode("utf-16-le"),
        "Mina".encode("utf-32"),
    ],
)
def test_what_is_no_text_is_refused(raw, tmp_path):
    (tmp_path / "a.txt").write_bytes(raw)
    refused(tmp_path / "a.txt", "a.txt is not text")


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_the_byte_that_is_no_text_is_named_with_its_place_in_the_file(mark, tmp_path):
    (tmp_path / "a.txt").write_bytes(mark + b"abc\xffdef")
    refused(tmp_path / "a.txt", f"byte 0xff at position {len(mark) + 3}.*name its encoding, such as encoding='cp1252'")


def test_a_wrong_or_unknown_encoding_is_refused(tmp_path):
    (tmp_path / "a.txt").write_bytes(TEXT.encode("utf-8"))
    refused(tmp_path / "a.txt", "not text in ascii", encoding="ascii")
    for unknown in ("", "utf-99", "hex", "rot13"):
        refused(tmp_path / "a.txt", f"encoding='{unknown}'", encoding=unknown)


def test_a_missing_file_is_refused_with_the_known_names(tmp_path):
    refused(tmp_path / "nothing.txt", "no file .*nothing.txt.* sample, tales, tales_zh, alice, shakespeare")
    refused("Sample", "known corpora: sample")


def test_a_directory_is_refused(tmp_path):
    refused(tmp_path, "is a directory")
    refused("", "is a directory")


def test_a_text_given_in_place_of_a_path_is_refused():
    """As a path it is too long, or it holds a NUL."""
    refused("Mina has a small lamp. " * 500, "path|cannot be read|no file")
    refused("a\0b", "cannot be read")


# Downloads, from a server on this machine

RAW = b"hello from afar\r\n" * 50


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def address(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        if self.path == "/missing":
            return self.send_error(404)
        if self.path == "/no-http":
            return self.wfile.write(b"220 this is a mail server\r\n")
        self.send_response(200)
        if self.path == "/chunked-truncated":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            return self.wfile.write(b"ff\r\nhello")
        if self.path != "/no-length":
            self.send_header("Content-Length", str(len(RAW)))
        self.end_headers()
        body = {"/truncated": RAW[:-100], "/wrong": RAW.upper(), "/portal": b"<html>log in</html>"}.get(self.path, RAW)
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    server = Server(("127.0.0.1", 0), Handler)
    server.asked = []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def home(request, tmp_path, monkeypatch) -> Path:
    """An empty home folder, and no other place to look into."""
    if "alice" in request.fixturenames:
        return Path.home()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("MINIGPT_CORPORA", raising=False)
    return tmp_path / "home"


@pytest.fixture
def far(server, monkeypatch):
    """Say at which paths of the server the corpus "far" lies."""

    def lies_at(*paths: str) -> None:
        addresses = tuple(p if "://" in p else server.address(p) for p in paths)
        digest = hashlib.sha256(RAW).hexdigest()
        monkeypatch.setitem(corpus.DOWNLOADS, "far", corpus.Download("far.txt", digest, addresses))

    return lies_at


def files_below(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.rglob("*") if p.is_file())


TEXT_FAR = RAW.decode().replace("\r\n", "\n")


def test_a_download_is_cached_as_it_came_and_asked_for_once(far, home, server):
    far("right")
    assert load_corpus("far") == TEXT_FAR
    assert (home / ".cache" / "minigpt" / "far.txt").read_bytes() == RAW
    assert load_corpus("far") == TEXT_FAR and server.asked == ["/right"]
    assert files_below(home) == ["far.txt"]


def test_a_server_need_not_tell_the_length(far):
    far("no-length")
    assert load_corpus("far") == TEXT_FAR


@pytest.mark.parametrize("bad", ["missing", "wrong", "portal", "truncated", "chunked-truncated", "no-http"])
def test_the_next_address_is_tried_when_one_fails(bad, far, home, server):
    far(bad, "right")
    assert load_corpus("far") == TEXT_FAR
    assert server.asked == [f"/{bad}", "/right"] and files_below(home) == ["far.txt"]


@pytest.mark.parametrize("bad", ["missing", "wrong", "portal", "truncated", "chunked-truncated", "no-http"])
def test_a_failed_download_is_refused_and_leaves_no_file(bad, far, home):
    far(bad)
    refused("far", f"far could not be downloaded .*/{bad}: .*MINIGPT_CORPORA")
    assert files_below(home) == []


def test_without_network_the_error_names_each_address_and_the_way_out(far, home):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    far(f"http://127.0.0.1:{port}/a", f"http://127.0.0.1:{port}/b", "nonsense://x/c")
    refused("far", f"{port}/a: .*refused.*{port}/b: .*nonsense.*put the file into a folder as far.txt.*MINIGPT_CORPORA")
    assert files_below(home) == []


def test_an_interrupted_download_leaves_no_file(far, home, monkeypatch):
    far("right")

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        load_corpus("far")
    assert files_below(home) == []


def test_a_home_that_cannot_be_written_does_not_lose_the_text(far, home):
    """As in a container or on a school's machine; here home is a file."""
    home.write_text("no folder")
    far("right")
    assert load_corpus("far") == TEXT_FAR


def test_a_damaged_cache_is_refused_with_its_path(far, home, server):
    far("right")
    load_corpus("far")
    cached = home / ".cache" / "minigpt" / "far.txt"
    cached.write_bytes(RAW[:-1])
    refused("far", f"{cached} is not the expected file.*delete it")
    assert cached.exists() and server.asked == ["/right"]


def test_the_readers_folder_is_looked_into_first(far, home, server, tmp_path, monkeypatch):
    far("right")
    load_corpus("far")
    (home / ".cache" / "minigpt" / "far.txt").write_bytes(b"damaged, but never read")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "far.txt").write_bytes(RAW)
    monkeypatch.setenv("MINIGPT_CORPORA", str(tmp_path / "own"))
    assert load_corpus("far") == TEXT_FAR and len(server.asked) == 1


def test_a_wrong_file_in_the_readers_folder_is_refused(far, server, tmp_path, monkeypatch):
    far("right")
    (tmp_path / "far.txt").write_bytes(RAW + b"x")
    monkeypatch.setenv("MINIGPT_CORPORA", str(tmp_path))
    refused("far", f"{tmp_path}/far.txt is not the expected file")
    assert server.asked == []


@pytest.mark.parametrize("folder", ["", "nowhere", "empty"])
def test_a_readers_folder_without_the_file_is_passed_over(folder, far, tmp_path, monkeypatch):
    far("right")
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("MINIGPT_CORPORA", str(tmp_path / folder) if folder else "")
    assert load_corpus("far") == TEXT_FAR


@pytest.mark.parametrize("name", ["alice", "shakespeare"])
def test_downloads_are_pinned_to_a_commit_over_https(name):
    download = corpus.DOWNLOADS[name]
    assert len(download.sha256) == 64 and len(download.addresses) >= 2
    for address in download.addresses:
        assert address.startswith("https://") and any(len(part) >= 40 for part in address.replace("@", "/").split("/"))


@pytest.mark.parametrize(
    "encoding, text", [("gb18030", "灯塔上的灯亮了，小船回来了。"), ("cp1252", "Un café à la crème, déjà vu.")]
)
def test_a_wrong_encoding_shows_what_the_right_one_would_read(tmp_path, encoding, text):
    path = tmp_path / "mine.txt"
    path.write_bytes((text * 20).encode(encoding))
    with pytest.raises(ValueError, match="is not text in utf-8") as caught:
        load_corpus(path)
    assert f"encoding={encoding!r} (there it reads" in str(caught.value) and text[:6] in str(caught.value)
    assert load_corpus(path, encoding=encoding) == text * 20


def test_a_name_is_the_books_text_and_a_path_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("tales").write_text("My own tales.", encoding="utf-8")
    assert len(load_corpus("tales")) > 100_000
    assert load_corpus("./tales") == load_corpus(Path("tales")) == load_corpus(tmp_path / "tales") == "My own tales."
