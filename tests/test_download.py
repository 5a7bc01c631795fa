"""Fetching over https from a server on this machine: interrupted, resumed, refused."""

import fcntl
import hashlib

import pytest
from loopback import NO_OPENSSL, certificate, serving

from recurlab import corpora, download

pytestmark = pytest.mark.skipif(NO_OPENSSL, reason="no openssl command, which makes the server's certificate")
NAME = "shelf/words.txt"
CONTENT = bytes(range(256)) * 4000


@pytest.fixture(scope="module")
def own_certificate(tmp_path_factory):
    return certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def server(own_certificate, tmp_path, monkeypatch):
    """The home of one known file; fetching is allowed, the cache is empty, the certificate is believed."""
    with serving(own_certificate) as server:
        server.content = CONTENT
        home = f"https://127.0.0.1:{server.port}/words.txt"
        monkeypatch.setitem(corpora.FILES, NAME, corpora.Corpus(home, hashlib.sha256(CONTENT).hexdigest()))
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        monkeypatch.setenv("RECURLAB_DOWNLOAD", "1")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(own_certificate))
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        for variable in ("RECURLAB_DATA", "CURL_CA_BUNDLE"):
            monkeypatch.delenv(variable, raising=False)
        yield server


def kept(tmp_path) -> dict[str, bytes]:
    """What stands in the cache."""
    return {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_a_file_is_fetched_once_and_kept(server, tmp_path):
    assert corpora.read(NAME) == CONTENT and corpora.read(NAME) == CONTENT
    assert server.asked == [None] and kept(tmp_path) == {"words.txt": CONTENT}


@pytest.mark.parametrize("parts", [True, False])
def test_what_was_interrupted_goes_on_where_it_ended_or_begins_anew_where_the_server_gives_no_parts(
    server, tmp_path, parts
):
    server.most, server.parts = 100_000, parts
    with pytest.raises(OSError, match=r"words.txt: .*; 65,536 bytes of it are kept, and the next attempt goes on"):
        corpora.read(NAME)
    assert kept(tmp_path) == {".words.txt.part": CONTENT[:65_536]}
    server.most = None
    assert corpora.read(NAME) == CONTENT
    assert server.asked == [None, "bytes=65536-"] and kept(tmp_path) == {"words.txt": CONTENT}


def test_a_part_that_is_whole_already_needs_nothing_more(server, tmp_path):
    (tmp_path / "recurlab/shelf").mkdir(parents=True)
    (tmp_path / "recurlab/shelf/.words.txt.part").write_bytes(CONTENT)
    assert corpora.read(NAME) == CONTENT and kept(tmp_path) == {"words.txt": CONTENT}


def test_other_bytes_are_refused_and_not_kept(server, tmp_path):
    server.content = CONTENT[:-1] + b"x"
    with pytest.raises(ValueError, match="SHA256 hash of downloaded file"):
        corpora.read(NAME)
    assert kept(tmp_path) == {}


def test_a_part_of_another_file_is_not_kept_for_ever(server, tmp_path):
    server.most, server.content = 70_000, b"x" * 100_000
    with pytest.raises(OSError, match="65,536 bytes of it are kept"):
        corpora.read(NAME)
    server.most, server.content = None, CONTENT
    with pytest.raises(ValueError, match="SHA256 hash of downloaded file"):
        corpora.read(NAME)
    assert corpora.read(NAME) == CONTENT


def test_more_than_can_be_is_not_taken(server, tmp_path, monkeypatch):
    monkeypatch.setattr(corpora, "MOST_BYTES", len(CONTENT) - 1)
    with pytest.raises(ValueError, match="words.txt: more than 1,023,999 bytes"):
        corpora.read(NAME)
    assert kept(tmp_path) == {}


def test_no_byte_comes_over_http_whoever_says_so(server, tmp_path, monkeypatch):
    with serving() as insecure:
        insecure.content = CONTENT
        server.elsewhere = f"http://127.0.0.1:{insecure.port}/words.txt"
        with pytest.raises(OSError, match="No connection adapters were found for 'http://"):
            corpora.read(NAME)
        monkeypatch.setitem(corpora.FILES, NAME, corpora.FILES[NAME]._replace(home=server.elsewhere))
        with pytest.raises(OSError, match="No connection adapters were found for 'http://"):
            corpora.read(NAME)
        assert insecure.asked == []
    assert kept(tmp_path).get(".words.txt.part") == b""


def test_a_server_that_cannot_prove_itself_is_refused(server, monkeypatch):
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with pytest.raises(OSError, match="certificate"):
        corpora.read(NAME)
    assert server.asked == []


def test_an_error_of_the_server_is_told_and_nothing_of_it_kept(server, tmp_path):
    server.parts, server.elsewhere = True, f"https://127.0.0.1:{server.port}/elsewhere"
    with pytest.raises(OSError, match="redirects"):
        corpora.read(NAME)
    assert kept(tmp_path) == {".words.txt.part": b""}


def test_two_processes_do_not_write_one_part(server, tmp_path):
    part = tmp_path / ".words.txt.part"
    with open(part, "ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(OSError, match="another process is fetching this file"):
            download.resuming(part, 10**9)(corpora.FILES[NAME].home, tmp_path / "out", None)
    assert server.asked == []


def test_a_part_that_another_process_has_just_finished_is_not_written_to(server, tmp_path):
    part = tmp_path / ".words.txt.part"
    with open(part, "ab") as file:
        part.rename(tmp_path / "words.txt")
        with pytest.raises(OSError, match="another process is fetching this file"):
            download._lock(file, part)
