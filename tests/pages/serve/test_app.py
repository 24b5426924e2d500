"""The search page without a browser: what it answers, and what it refuses."""

import http.client
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import quote, urlsplit

import av
import numpy as np
import pytest

pytest.importorskip("uvicorn", reason="needs the extra serve")
pytest.importorskip("starlette", reason="needs the extra serve")

from vidssl_cli.base.errors import VidsslError
from vidssl_cli.cli import app
from vidssl_cli.cli.failures import run
from vidssl_cli.media.probe import probe
from vidssl_cli.model.encoder import Encoder
from vidssl_cli.pages.serve import copies, live_index
from vidssl_cli.pages.serve.kept import Kept
from vidssl_cli.pages.serve.run import Place, serving
from vidssl_cli.search.build import build_index
from vidssl_cli.search.retrieve import retrieve
from vidssl_cli.search.store import open_index

STATIC = Path(live_index.__file__).parent / "static"


class Client:
    """Sends requests as they are written, without what a library would mend."""

    def __init__(self, address):
        self.host = urlsplit(address).netloc
        self.token = urlsplit(address).query.removeprefix("token=")

    def __call__(self, path, method="GET", body=None, **headers):
        connection = http.client.HTTPConnection(self.host, timeout=60)
        sent = {"Host": self.host} | {
            name.replace("_", "-"): text for name, text in headers.items()
        }
        connection.putrequest(method, path, skip_host=True)
        for name, text in sent.items():
            connection.putheader(name, text)
        if isinstance(body, bytes):
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body, encode_chunked=False)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, dict(answer.getheaders()), content

    def json(self, path, status=200, **more):
        found, headers, content = self(path, **more)
        assert found == status, content
        assert headers["content-type"] == "application/json"
        return json.loads(content)


@pytest.fixture(scope="module")
def ask(world):
    with serving(world.index, Place(port=0), device="cpu", most=200_000) as address:
        yield Client(address)


def of(path):
    return f"video={quote(os.fsencode(path), safe='')}"


def test_the_page_loads_nothing_from_elsewhere_and_runs_only_its_script(ask):
    status, headers, content = ask("/")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    page = content.decode()
    assert page.count("<script") == 1
    assert "://" not in page
    assert "style=" not in page
    assert "onclick=" not in page
    for name in ("search.css", "search.js", "icon.svg"):
        status, headers, content = ask(f"/static/{name}")
        assert (status, content) == (200, (STATIC / name).read_bytes())
        assert headers["x-content-type-options"] == "nosniff"
        assert "://" not in content.decode().replace("http://www.w3.org/2000/svg", "")
    assert "innerHTML" not in (STATIC / "search.js").read_text()


def test_a_search_finds_what_retrieve_finds(ask, world):
    index = open_index(world.index)
    for query, text, level in [
        (of(world.toy), "#0", None),
        ("item=0&from=0.2&to=0.8", "#0@0.2-0.8", None),
        ("item=3&level=moment", "#3", "moment"),
        ("item=3&level=clip", "#3", "clip"),
    ]:
        (answer,), _ = retrieve(index, [text], top=5, level=level, device="cpu")
        found = ask.json(f"/api/search?{query}&count=5")
        assert found["level"] == answer.level
        assert [(hit["item"], hit["score"], hit["start"], hit["end"]) for hit in found["hits"]] == [
            (hit.item, hit.score, hit.start, hit.end) for hit in answer.hits
        ]
        assert found["span"] == pytest.approx(answer.span)
    assert f"vidssl retrieve {world.index} '#3' --level clip" == found["command"]
    own = ask.json("/api/search?item=0&own=1")["hits"]
    assert (own[0]["item"], own[0]["score"]) == (0, 1)


def test_hits_come_in_pages(ask):
    whole = ask.json("/api/search?item=0&level=clip&count=200")
    parts = [ask.json(f"/api/search?item=0&level=clip&count=9&offset={n}") for n in (0, 9, 18)]
    assert [hit for part in parts for hit in part["hits"]] == whole["hits"][:27]
    assert parts[0]["more"]
    assert not whole["more"]
    assert ask.json("/api/search?item=0&offset=5000")["hits"] == []


def test_without_a_query_the_gallery_is_listed_and_filtered(ask, world):
    def items(query):
        return {row["item"] for row in ask.json(f"/api/search?{query}")["hits"]}

    assert items("") == set(range(12))
    assert items("label=class%200") == {0, 3, 6}
    assert items("label=class%200&label=class%201") == {0, 1, 3, 4, 6, 7}
    assert items(f"folder={quote(str(world.folder / 'b'))}") == {10, 11}
    assert items(f"folder={quote(str(world.folder))}&shortest=2.1") == {10}
    assert items("longest=1.7") == set(range(8))
    assert items("name=OLD") == {10}
    assert items("name=%25") == {8}  # no pattern; only the hostile name has one
    assert items("where=duration%20%3E%202%20--%20all&label=old") == {10}
    assert items("label=class%200&name=3.mp4") == {3}
    assert ask.json("/api/search?count=5&offset=5")["total"] == 12
    refused = ask.json("/api/search?where=nonsense%20(", 400)
    assert "SQLite cannot evaluate" in refused["error"]
    for wrong in ("from=x&to=1", "from=3&to=1", "level=all", "lasso=1,2", "lasso=1,2;3,nan;5,6"):
        assert ask.json(f"/api/search?item=0&{wrong}", 400)["error"]
    assert (
        ask.json("/api/search?item=0&from=100&to=101", 422)["error"] == "the video ends at 1.60 s"
    )


def test_a_lasso_leaves_what_is_inside(ask):
    _, _, content = ask("/api/map")
    x, _, labels = np.frombuffer(content[: 12 * 6], "<u2").reshape(3, 12) / 65535
    items = np.frombuffer(content[12 * 6 :], "<u4")
    assert items.tolist() == list(range(12))
    assert {labels[0], labels[3]} == {labels[6]}
    assert len(np.unique(x)) > 6
    low = float(np.sort(x)[5] + np.sort(x)[6]) / 2
    lasso = f"-1,-1;{low},-1;{low},2;-1,2"
    found = ask.json(f"/api/search?lasso={lasso}")["hits"]
    assert {row["item"] for row in found} == {int(n) for n in items[x < low]}
    found = ask.json(f"/api/search?item=0&lasso={lasso}")["hits"]
    assert {row["item"] for row in found} == {int(n) for n in items[x < low]} - {0}
    assert ask.json("/api/search?item=0&lasso=5,5;6,5;6,6")["hits"] == []


def test_a_file_is_played_in_ranges(ask, world):
    content = Path(world.toy).read_bytes()
    status, headers, whole = ask(f"/media?{of(world.toy)}")
    assert (status, whole, headers["content-type"]) == (200, content, "video/mp4")
    status, headers, part = ask(f"/media?{of(world.toy)}", Range="bytes=100-199")
    assert (status, part) == (206, content[100:200])
    assert headers["content-range"] == f"bytes 100-199/{len(content)}"
    assert ask.json(f"/api/video?{of(world.toy)}")["playback"]["way"] == "file"


def test_what_browsers_do_not_play_is_transcoded_and_it_is_said(ask, world, read_numbers):
    playback = ask.json(f"/api/video?{of(world.avi)}")["playback"]
    assert playback["way"] == "transcoded"
    assert playback["why"] == "browsers do not play AVI (Audio Video Interleaved)"
    assert ask(f"/media?{of(world.avi)}")[0] == 422
    status, headers, content = ask(f"/part?{of(world.avi)}&at=1")
    assert (status, headers["content-type"]) == (200, "video/mp4")
    with av.open(io.BytesIO(content)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        frames = list(container.decode(stream))
    shown = np.stack([frame.to_ndarray(format="rgb24") for frame in frames])
    assert read_numbers(shown) == list(range(25, 60))
    assert [frame.time for frame in frames[:3]] == pytest.approx([0, 0.04, 0.08], abs=1e-3)
    status, headers, part = ask(f"/part?{of(world.avi)}&at=1", Range="bytes=10-")
    assert (status, part) == (206, content[10:])
    assert ask(f"/part?{of(world.avi)}&at=1", Range=f"bytes={len(content)}-")[0] == 416
    assert ask(f"/part?{of(world.avi)}&at=1e8")[0] == 200  # the last frame


def test_pictures_are_made_where_a_file_is_there(ask, world):
    for path in (f"/still?{of(world.avi)}&at=1", f"/moving?{of(world.avi)}&from=0&to=1"):
        status, headers, content = ask(path)
        assert (status, headers["content-type"], content[8:12]) == (200, "image/webp", b"WEBP")
    assert ask(f"/still?{of(world.gone)}")[0] == 422
    found = ask.json(f"/api/video?{of(world.gone)}")
    assert (found["there"], found["playback"]["way"]) == (False, "none")


def test_no_other_file_is_served(ask, world, tmp_path):
    other = shutil.copy(world.toy, tmp_path / "other.mp4")
    for path in (other, "/etc/passwd", f"{world.folder}/a/../index/CURRENT", "upload:../../x", ""):
        for address in ("/media", "/part", "/still", "/moving", "/api/video"):
            assert ask(f"{address}?{of(path)}")[0] == 404
    for item in ("99", "-1", "x", "1e400", "12"):
        assert ask(f"/media?item={item}")[0] in (400, 404)
    for path in (
        "/static/../app.py",
        "/static/..%2fapp.py",
        "/static/app.py",
        "/a",
        "//etc/passwd",
    ):
        assert ask(path)[0] == 404
    assert ask("/media?item=0", method="POST", body=b"")[0] == 405


def test_a_file_that_is_no_longer_a_video_is_not_served(toy_encoder, make_video, tmp_path):
    from vidssl_cli.media.probe import probe

    path = make_video(tmp_path / "a.mp4")
    build_index(toy_encoder(), [probe(str(path))], tmp_path / "index")
    size = path.stat().st_size
    path.unlink()
    secret = tmp_path / "secret"
    secret.write_bytes(b"x" * size)
    path.symlink_to(secret)
    with serving(tmp_path / "index", Place(port=0), device="cpu") as address:
        assert Client(address)("/media?item=0")[0] == 422


def test_a_dropped_video_is_searched_by(ask, world):
    content = Path(world.toy).read_bytes()
    found = ask.json("/api/uploads?name=..%2f%3Cb%3E.mp4", method="POST", body=content)
    assert (found["name"], found["item"], found["folder"]) == ("<b>.mp4", None, "")
    assert found["id"].startswith("upload:")
    hits = ask.json(f"/api/search?video={found['id']}")["hits"]
    assert (hits[0]["item"], hits[0]["score"]) == (0, pytest.approx(1, abs=1e-4))
    moment = ask.json(f"/api/search?video={found['id']}&from=0.2&to=0.9")
    assert (moment["level"], moment["hits"][0]["item"]) == ("moment", 0)
    assert ask(f"/media?video={found['id']}")[2] == content
    assert ask(f"/still?video={found['id']}&at=0.5")[0] == 200


def test_what_is_dropped_has_limits_and_leaves_nothing(ask, world):
    large = ask.json("/api/uploads?name=a", 413, method="POST", body=bytes(200_001))
    assert "is larger than" in large["error"]
    chunks = b"".join(b"%x\r\n%s\r\n" % (50_000, bytes(50_000)) for _ in range(6)) + b"0\r\n\r\n"
    headers = {"Transfer-Encoding": "chunked"}
    connection = http.client.HTTPConnection(ask.host)
    connection.request(
        "POST", "/api/uploads?name=a", io.BytesIO(chunks), headers | {"Host": ask.host}
    )
    assert connection.getresponse().status == 413
    connection.close()
    assert ask.json("/api/uploads", 422, method="POST", body=b"no video")["error"]
    assert ask.json("/api/uploads", 422, method="POST", body=b"")["error"]
    content = Path(world.toy).read_bytes()
    keys = [ask.json("/api/uploads", method="POST", body=content)["id"] for _ in range(9)]
    lost = ask.json(f"/api/search?video={keys[0]}", 404)
    assert lost["error"] == "the dropped video is no longer kept; drop it here again"
    ask.json(f"/api/search?video={keys[1]}&count=1")


def test_a_folder_of_dropped_videos_goes_with_the_server(world, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with serving(world.index, Place(port=0), device="cpu") as address:
        Client(address).json("/api/uploads", method="POST", body=Path(world.toy).read_bytes())
        (folder,) = tmp_path.iterdir()
        assert len(list(folder.iterdir())) == 1
    assert not list(tmp_path.iterdir())


def test_names_are_shown_and_not_obeyed(ask, world):
    rows = {row["item"]: row for row in ask.json("/api/search")["hits"]}
    assert "\u202e" not in rows[8]["name"]
    assert rows[8]["name"].startswith("<img src=x onerror=")  # as JSON, for textContent
    assert rows[9]["name"] == "caf\\udce9 & co.mp4"
    for item in (8, 9):
        address = rows[item]["id"]
        assert set(address) <= set(quote("/:")) | set("%._-~/:") | set(map(chr, range(128)))
        assert not set(address) & set("<>\"'& #")
        assert ask.json(f"/api/search?video={address}")["query"]["item"] == item
        assert ask(f"/media?video={address}")[0] == 200
    _, _, page = ask("/")
    assert b"onerror" not in page
    labels = ask.json("/api/index")["labels"]
    hostile = next(row["name"] for row in labels if "onerror" in row["name"])
    assert {row["item"] for row in ask.json(f"/api/search?label={quote(hostile)}")["hits"]} == {8}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:1234"}, 200),  # through a tunnel
        ({"Host": "[::1]"}, 200),
        ({"Host": "evil.example"}, 421),
        ({"Host": "127.0.0.1.evil.example"}, 421),
        ({"Host": "localhost@evil.example"}, 421),
        ({"Host": "192.168.1.5:8000"}, 421),
        ({"Host": ""}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": "same-site", "Sec_Fetch_Dest": "image"}, 403),
        ({"Sec_Fetch_Site": "same-origin"}, 200),
    ],
)
def test_other_names_and_other_sites_are_refused(ask, headers, status):
    for path in ("/api/index", "/media?item=0"):
        assert ask(path, **headers)[0] == status
    if status != 200:
        assert ask("/api/uploads", method="POST", body=b"x", **headers)[0] == status


def test_a_link_of_another_page_opens_the_page_and_nothing_else(ask):
    link = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Dest": "document"}
    assert ask("/?item=0", **link)[0] == 200
    assert ask("/media?item=0", **link)[0] == 403
    assert ask("/", Sec_Fetch_Site="cross-site", Sec_Fetch_Dest="iframe")[0] == 403
    own = f"http://{ask.host}"
    assert ask("/api/index", Origin=own, Sec_Fetch_Site="same-origin")[0] == 200


def test_an_address_that_others_reach_has_a_token(world):
    with serving(world.index, Place("0.0.0.0", 0), device="cpu") as address:
        ask = Client(address)
        assert len(ask.token) > 16
        for path in ("/", "/api/index", "/media?item=0", "/?token=wrong", "/?token="):
            assert ask(path)[0] == 401
        assert ask("/api/uploads", method="POST", body=b"x")[0] == 401
        status, headers, _ = ask(f"/?token={ask.token}&video=/a%20b&from=1")
        assert (status, headers["location"]) == (303, "/?video=%2Fa+b&from=1")
        cookie = headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie
        pair = cookie.partition(";")[0]
        assert ask("/api/index", Cookie=pair)[0] == 200
        assert ask("/api/index", Cookie=f"other=1; {pair}")[0] == 200
        assert ask("/api/index", Cookie=pair[:-1])[0] == 401
        assert ask("/api/index", Authorization=f"Bearer {ask.token}")[0] == 200
        assert ask("/api/index", Cookie=pair, Host="192.168.1.5:80")[0] == 200
        assert ask("/api/index", Cookie=pair, Host="evil.example")[0] == 421
        assert ask("/api/index", Cookie=pair, Origin="http://evil.example")[0] == 403


def test_a_new_generation_is_opened_and_its_network_kept(
    toy_encoder, toy_videos, tmp_path, monkeypatch
):
    monkeypatch.setattr(live_index, "_LOOK", 0)
    loads = []
    load = Encoder.load
    monkeypatch.setattr(Encoder, "load", lambda *given: loads.append(given) or load(*given))
    folder = tmp_path / "index"
    build_index(toy_encoder(), toy_videos[:4], folder)
    with serving(folder, Place(port=0), device="cpu") as address:
        ask = Client(address)
        content = Path(toy_videos[6].path).read_bytes()
        key = ask.json("/api/uploads", method="POST", body=content)["id"]
        for _ in range(3):
            best = ask.json(f"/api/search?video={key}&count=1")["hits"][0]
        assert best["item"] != 6
        before = ask.json("/api/index")
        assert ask.json(f"/api/index?known={before['generation']}") == {
            "generation": before["generation"]
        }
        build_index(toy_encoder(), toy_videos[4:8], folder)
        after = ask.json(f"/api/index?known={before['generation']}")
        assert (before["videos"], after["videos"]) == (4, 8)
        best = ask.json(f"/api/search?video={key}&count=1")["hits"][0]
        assert (best["item"], best["score"]) == (6, pytest.approx(1, abs=1e-4))
        (folder / "CURRENT").write_text("damaged")  # the page goes on with what it has
        assert ask.json("/api/index")["videos"] == 8
    assert len(loads) == 1


def test_many_ask_at_once(ask, world):
    def work(number):
        for _ in range(3):
            answers.append(ask(f"/api/search?item={number}&level=moment")[0])
            answers.append(ask(f"/still?item={number}&at=0.4")[0])

    answers = []
    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 48


def test_what_is_kept_is_made_once_and_is_bounded():
    made = []

    def make(key, size):
        return kept.get(key, lambda: made.append(key) or bytes(size))

    kept = Kept(100)
    assert make("a", 40) == make("a", 40) == bytes(40)
    make("b", 40)
    make("a", 40)
    make("c", 40)  # b goes
    make("a", 40)
    make("b", 40)
    assert made == ["a", "b", "c", "b"]
    assert make("large", 1000) == bytes(1000)
    with pytest.raises(ZeroDivisionError):
        kept.get("broken", lambda: bytes(1 // 0))
    assert make("broken", 1) == bytes(1)


def test_the_command_prints_the_address_and_ends_by_ctrl_c(world):
    command = [sys.executable, "-m", "vidssl_cli", "serve", world.index, "--port", "0", "--no-open"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        address = server.stdout.readline().strip()
        assert Client(address)("/")[0] == 200
        began = time.monotonic()
        server.send_signal(signal.SIGINT)
        assert server.wait(20) == 130
        assert time.monotonic() - began < 8
        assert "Traceback" not in server.stderr.read()


def test_the_command_says_what_is_wrong(world, tmp_path, capsys, monkeypatch):
    assert run(app, ["serve", str(tmp_path)]) == 2
    assert "is not an index" in capsys.readouterr().err
    assert run(app, ["serve", str(world.index), "--token", "short"]) == 2
    assert "8 characters" in capsys.readouterr().err
    with serving(world.index, Place(port=0), device="cpu") as address:
        port = str(urlsplit(address).port)
        assert run(app, ["serve", str(world.index), "--port", port]) == 2
    assert "--port" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "vidssl_cli.pages.serve.run")
    assert run(app, ["serve", str(world.index)]) == 2
    assert "pip install 'vidssl[serve]'" in capsys.readouterr().err


@pytest.fixture
def copied(toy_encoder, toy_videos, tmp_path):
    """An index in which a video is there twice."""
    shutil.copy(toy_videos[0].path, tmp_path / "the same.mp4")
    folder = tmp_path / "index"
    build_index(toy_encoder(), [*toy_videos[:4], probe(str(tmp_path / "the same.mp4"))], folder)
    return folder


def test_copies_are_found_in_the_background(copied, toy_videos):
    def found(path="/api/search?copies=1"):
        end = time.monotonic() + 60
        while (answer := ask.json(path)).get("pending"):
            assert answer["hits"] == []
            assert time.monotonic() < end
            time.sleep(0.05)
        return answer

    with serving(copied, Place(port=0), device="cpu") as address:
        ask = Client(address)
        answer = found()
        rows = [(row["name"], row["group"], row["role"], row["part"]) for row in answer["hits"]]
        first = os.path.basename(toy_videos[0].path)
        assert sorted(name for name, *_ in rows) == sorted([first, "the same.mp4"])
        assert [row[1:] for row in rows] == [(1, "keep", ""), (1, "copy", "the same content")]
        size = os.path.getsize(toy_videos[0].path)
        assert answer["copies"] == {"groups": 1, "copies": 1, "bytes": size}
        assert found("/api/search?copies=1&name=nothing")["hits"] == []
        assert ask.json("/api/search?copies=1&item=0")["query"]["item"] == 0


def test_what_keeps_copies_from_being_found_is_said_and_tried_again(copied, monkeypatch):
    def fail(_):
        raise VidsslError("another process looks for them")

    with serving(copied, Place(port=0), device="cpu") as address, monkeypatch.context() as patch:
        patch.setattr(copies, "find_duplicates", fail)
        ask = Client(address)
        while (answer := ask("/api/search?copies=1"))[0] == 200:
            time.sleep(0.05)
        assert json.loads(answer[2])["error"] == "another process looks for them"
        patch.undo()
        while (answer := ask.json("/api/search?copies=1")).get("pending"):
            time.sleep(0.05)
        assert answer["copies"]["groups"] == 1


def test_the_network_is_loaded_before_anybody_drops_a_video(copied, monkeypatch):
    loaded = threading.Event()
    load = Encoder.load

    def loading(*given):
        encoder = load(*given)
        loaded.set()
        return encoder

    monkeypatch.setattr(Encoder, "load", loading)
    with serving(copied, Place(port=0), device="cpu"):
        assert loaded.wait(60)
