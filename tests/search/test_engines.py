"""FAISS and torch engines, and what a level makes of them, against brute force."""

import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import threadpoolctl

from vidssl_cli.base.errors import DamagedFileError, UsageError, VidsslError
from vidssl_cli.contract import metrics
from vidssl_cli.search import approximate, engines, factories, recall
from vidssl_cli.search.columns import Column
from vidssl_cli.search.exact import exact_engine, inverse_lengths
from vidssl_cli.search.levels import Level


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def random_vectors(count, dimension=16, seed=0):
    generator = np.random.default_rng(seed)
    return unit(generator.normal(size=(count, dimension))).astype(np.float32)


def clustered_vectors(count, dimension=32, clusters=20, seed=0):
    """Vectors around centres, as features of videos are."""
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(clusters, dimension))
    members = centres[generator.integers(clusters, size=count)]
    return unit(members + generator.normal(0, 0.3, members.shape)).astype(np.float32)


def brute_force(vectors, queries, k):
    scores = (queries.astype(np.float64) @ vectors.astype(np.float64).T).astype(np.float32)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(scores, order, 1)


def unscaled(dimension):
    return np.stack([np.zeros(dimension), np.ones(dimension)])


NONE = np.empty(0, np.int64)


def build(vectors, kind):
    column = Column([np.asarray(vectors)])
    return factories.build_faiss(factories.UnitVectors(column, unscaled(column.shape[1])), kind)


def engine_over(kind, vectors, scaling, removed=NONE):
    if kind == "exact":
        return exact_engine(vectors, scaling, inverse_lengths(vectors, scaling), removed)
    units = engines.unit_vectors(np.asarray(vectors), scaling).astype(np.float32)
    if kind == "torch":
        return engines.scaled(engines.torch_engine(units), scaling)
    with tempfile.TemporaryDirectory() as folder:  # searched as an index on disk is
        approximate.write_faiss(build(units, kind), Path(folder) / "faiss")
        index = approximate.read_faiss(Path(folder) / "faiss", mapped=True)
    return engines.scaled(approximate.faiss_engine(index), scaling)


def nearest(kind, vectors, queries, k, scaling=None, removed=NONE):
    column = vectors if isinstance(vectors, Column) else Column([vectors])
    scaling = unscaled(column.shape[1]) if scaling is None else scaling
    engine = engine_over(kind, column, scaling, removed)
    return Level(column, scaling, removed, lambda: engine).nearest(queries, k)


@pytest.mark.parametrize("kind", ["exact", "Flat", "torch"])
@pytest.mark.parametrize("count", [1, 2, 10, 500])
@pytest.mark.parametrize("k", [1, 7, 1000])
def test_exact_engines_agree_with_brute_force(kind, count, k):
    vectors, queries = random_vectors(count), random_vectors(9, seed=1)
    order, scores = brute_force(vectors, queries, k)
    for row, (ids, found) in enumerate(nearest(kind, vectors, queries, k)):
        assert ids.tolist() == order[row].tolist()
        np.testing.assert_allclose(found, scores[row], rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", ["exact", "Flat", "torch"])
def test_equal_items_stay_in_gallery_order(kind):
    # 300 copies of four vectors: many more ties than are fetched at first.
    vectors = np.tile(random_vectors(4), (300, 1))
    ids, scores = nearest(kind, vectors, vectors[1:2], 25)[0]
    assert ids.tolist() == [1 + 4 * copy for copy in range(25)]
    assert (scores == 1).all()


@pytest.mark.parametrize("kind", ["exact", "Flat", "torch", "HNSW"])
def test_scores_do_not_leave_their_range(kind):
    vectors = random_vectors(40, 300)
    queries = np.concatenate([vectors, -vectors])
    scores = np.concatenate([found for _, found in nearest(kind, vectors, queries, 40)])
    assert scores.max() == 1
    assert scores.min() == -1


@pytest.mark.parametrize("other", ["Flat", "torch"])
def test_engines_give_the_same_scores_to_the_bit(other):
    vectors, queries = random_vectors(500, 64), random_vectors(20, 64, seed=1)
    for one, same in zip(
        nearest("exact", vectors, queries, 10), nearest(other, vectors, queries, 10), strict=True
    ):
        np.testing.assert_array_equal(one[0], same[0])
        np.testing.assert_array_equal(one[1], same[1])


@pytest.mark.parametrize("queries", [1, 2, 3, 40, 1500])
@pytest.mark.parametrize("k", [1, 9, 700])
@pytest.mark.parametrize("cores", [1, 3])
def test_exact_search_is_brute_force_over_parts_and_standardised(queries, k, cores, monkeypatch):
    """Features far from zero, in parts of any size, of which some are removed."""
    monkeypatch.setattr("vidssl_cli.search.columns.BLOCK", 128)
    monkeypatch.setattr("vidssl_cli.search.exact.BLOCK", 128)
    monkeypatch.setattr("vidssl_cli.search.exact.usable_cores", lambda: cores)
    generator = np.random.default_rng(0)
    features = generator.normal(5, [1, 3] * 8, (1000, 16)).astype(np.float32)
    asked = generator.normal(5, [1, 3] * 8, (queries, 16)).astype(np.float32)
    removed = np.unique(np.r_[0, 300:310, generator.integers(0, 1000, 100), 999])
    kept = np.delete(np.arange(1000), removed)
    scaling = metrics.scaling(features[kept])
    column = Column(np.split(features, [1, 400, 700]))
    units = engines.unit_vectors(features[kept], scaling)
    order, scores = brute_force(units, engines.unit_vectors(asked, scaling), k)
    found = nearest("exact", column, asked, k, scaling, removed)
    for row, (ids, similar) in enumerate(found):
        assert ids.tolist() == kept[order[row]].tolist()
        np.testing.assert_allclose(similar, scores[row], rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", ["exact", "Flat", "torch", "HNSW", "IVF"])
def test_removed_entries_are_never_found(kind):
    vectors = clustered_vectors(3000)
    removed = np.arange(0, 3000, 3)
    for ids, _ in nearest(kind, vectors, vectors[:30], 5, removed=removed):
        assert len(ids) == 5
        assert (ids % 3).all()


def test_exact_search_leaves_no_limit_on_threads():
    before = [pool["num_threads"] for pool in threadpoolctl.threadpool_info()]
    nearest("exact", random_vectors(500), random_vectors(5), 3)
    assert [pool["num_threads"] for pool in threadpoolctl.threadpool_info()] == before


def test_a_vector_of_zeros_is_like_nothing():
    vectors = random_vectors(5)
    vectors[2] = 0
    ids, scores = nearest("exact", vectors, vectors[2:3], 5)[0]
    assert ids.tolist() == [0, 1, 2, 3, 4]
    assert (scores == 0).all()


@pytest.mark.parametrize("kind", ["HNSW", "IVF", "SQ", "PQ", "IVF32,SQ8", "RaBitQ4"])
def test_approximate_indexes_find_nearly_all(kind):
    vectors, queries = clustered_vectors(4000), clustered_vectors(50, seed=1)
    order, _ = brute_force(vectors, queries, 10)
    found = [set(ids.tolist()) for ids, _ in nearest(kind, vectors, queries, 10)]
    recall = np.mean([len(near & set(row)) / 10 for near, row in zip(found, order, strict=True)])
    assert recall > 0.9


@pytest.mark.parametrize("kind", ["HNSW", "IVF", "SQ"])
def test_short_names_fit_tiny_galleries(kind):
    vectors = random_vectors(3)
    for ids, _ in nearest(kind, vectors, vectors, 10):
        assert sorted(ids.tolist()) == [0, 1, 2]


def test_short_names_follow_the_gallery():
    assert factories.expand_factory("IVF", 10_000, 512) == "IVF256,Flat"
    assert factories.expand_factory("PQ", 10_000, 96) == "PQ24"
    assert factories.expand_factory("IVF7,SQ8", 10_000, 96) == "IVF7,SQ8"


def test_too_few_vectors_to_train_are_refused_with_both_numbers(capsys):
    with pytest.raises(UsageError, match="IVF64,Flat over 50 vectors") as caught:
        build(random_vectors(50), "IVF64,Flat")
    assert "Flat" in caught.value.hint
    assert "64 lists" in capsys.readouterr().err


def test_few_vectors_to_train_are_warned_about_once(capfd):
    build(random_vectors(500), "IVF64,Flat")
    told = capfd.readouterr().err
    assert told.count("warning:") == 1
    assert "2496" in told
    assert "WARNING clustering" not in told


def test_an_unknown_factory_is_refused():
    with pytest.raises(UsageError, match="could not parse index string Nonsense"):
        build(random_vectors(50), "Nonsense")


@pytest.mark.parametrize(
    ("factory", "size", "reason"),
    [
        ("Nonsense", None, "could not parse index string Nonsense"),
        ("PQ7", None, "multiple of the number of subquantizers"),
        ("IVF4096", None, "could not parse"),
        ("IVF0,Flat", None, "0 lists do not suit"),
        ("HNSW0", None, "at least 2 links"),
        ("IVF4_HNSW1,Flat", None, "at least 2 links"),
        ("", None, "it is empty"),
        ("CAGRA64", None, "HNSW is a graph too"),
        ("IDMap,Flat", None, "without IDMap"),
        ("PCA8,IDMap2,Flat", None, "without IDMap"),
        ("IVF4096,Flat", 1000, "4096 lists do not suit"),
        ("IVF1000000000,Flat", 1000, "1000000000 lists do not suit"),
        ("PQ", 255, "its training needs 256"),
        ("OPQ4,PQ4", 255, "its training needs 256"),
        ("HNSW32_PQ4", 255, "its training needs 256"),
        ("IVF1,PQ4x10", 1023, "its training needs 1024"),
        ("IVF1,PQ4,RFlat", 255, "its training needs 256"),
        ("PCA17,Flat", None, "PCA cannot make 17 dimensions of 16"),
        ("PCA12,Flat", 11, "its training needs 12"),
    ],
)
def test_what_faiss_would_refuse_is_known_before(factory, size, reason):
    with pytest.raises(UsageError, match=reason):
        factories.check_factory(factory, 16, size)
    if size:
        with pytest.raises(UsageError):
            build(random_vectors(size), factory)
    with pytest.raises(UsageError):
        build(random_vectors(10), factory)


@pytest.mark.parametrize(
    "factory",
    [
        *("Flat", "HNSW", "IVF", "SQ", "PQ", "IVF16,SQ8", "OPQ4,PQ4", "PCA8,Flat", "HNSW32_SQ8"),
        *("HNSW32_PQ4", "OPQ4,IVF4_HNSW32,PQ4"),
    ],
)
def test_what_faiss_builds_is_let_through(factory, capfd):
    factories.check_factory(factory, 16)
    factories.check_factory(factory, 16, 300)
    assert capfd.readouterr().err == ""
    build(random_vectors(300), factory)
    assert "WARNING" not in capfd.readouterr().err  # as FAISS begins its own


def test_a_factory_of_very_many_lists_is_judged_when_the_gallery_is_known():
    factories.check_factory("IVF100000000,Flat", 16)


def test_without_faiss_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(engines, "load_faiss", lambda: None)
    with pytest.raises(VidsslError, match="HNSW indexes need FAISS") as caught:
        build(random_vectors(5), "HNSW")
    assert "vidssl[cpu]" in caught.value.hint


def test_a_broken_faiss_counts_as_none_and_is_told(monkeypatch, capsys):
    class Broken:
        def find_spec(self, name, path=None, target=None):
            if name == "faiss":
                raise RuntimeError("libcudart.so.12 is missing")

    monkeypatch.delitem(__import__("sys").modules, "faiss", raising=False)
    monkeypatch.setattr("sys.meta_path", [Broken(), *__import__("sys").meta_path])
    assert engines.load_faiss.__wrapped__() is None
    assert "libcudart.so.12 is missing" in capsys.readouterr().err


class FaissWithGpu:
    """A FAISS that says it has a GPU, whose indexes note who searched."""

    def __init__(self, log, refuses=False):
        self.true, self.log, self.refuses = engines.load_faiss(), log, refuses

    def __getattr__(self, name):
        return getattr(self.true, name)

    def get_num_gpus(self):
        return 2

    def StandardGpuResources(self):
        return object()

    def GpuClonerOptions(self):
        return SimpleNamespace(useFloat16LookupTables=False)

    def index_cpu_to_gpu(self, resources, number, index, options):
        assert options.useFloat16LookupTables
        if self.refuses:
            raise RuntimeError("This index type is not implemented on GPU.")
        log = self.log

        class OnGpu:
            def search(self, queries, k):
                log.append((number, k))
                return index.search(queries, k)

        return OnGpu()


def test_faiss_searches_on_the_gpu_where_it_can(monkeypatch):
    log = []
    gpu = FaissWithGpu(log)
    monkeypatch.setattr(approximate, "load_faiss", lambda: gpu)
    vectors = random_vectors(3000)
    engine = approximate.faiss_engine(build(vectors, "Flat"), "cuda:1")
    assert engine(vectors[:2], 5)[:, 0].tolist() == [0, 1]
    engine(vectors[:2], 3000)  # more than the GPU can
    approximate.faiss_engine(build(vectors, "Flat"), "cpu")(vectors[:2], 5)
    assert log == [(1, 5)]


def test_an_index_without_gpu_form_is_searched_on_the_cpu(monkeypatch, capsys):
    gpu = FaissWithGpu([], refuses=True)
    monkeypatch.setattr(approximate, "load_faiss", lambda: gpu)
    vectors = random_vectors(100)
    engine = approximate.faiss_engine(build(vectors, "HNSW"), "cuda")
    assert engine(vectors[:1], 1).tolist() == [[0]]
    assert "searched on the CPU" in capsys.readouterr().err


LARGE_KINDS = [
    *("IVF,RaBitQ4", "IVF16,PQ16", "IVF16,SQ8", "OPQ8,IVF16,PQ16"),
    *("IVF16_HNSW32,Flat", "IVF_HNSW32,RaBitQ4"),
]


@pytest.mark.parametrize("kind", ["Flat16", "SQfp16"])
@pytest.mark.parametrize("count", [1, 5, 50])
def test_half_precision_finds_all_neighbours(kind, count):
    vectors, queries = clustered_vectors(4000, 64), clustered_vectors(count, 64, seed=1)
    order, scores = brute_force(vectors, queries, 10)
    for row, (ids, found) in enumerate(nearest(kind, vectors, queries, 10)):
        assert ids.tolist() == order[row].tolist()
        np.testing.assert_allclose(found, scores[row], rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", ["Flat16", "RaBitQ4", "IVF16,PQ16x4fs", *LARGE_KINDS])
def test_mapped_and_loaded_indexes_give_the_same_candidates(kind, tmp_path):
    vectors, queries = clustered_vectors(3000), clustered_vectors(20, seed=1)
    approximate.write_faiss(build(vectors, kind), tmp_path / "index")
    loaded, mapped = (
        approximate.faiss_engine(approximate.read_faiss(tmp_path / "index", mapped=mapped))
        for mapped in (False, True)
    )
    np.testing.assert_array_equal(loaded(queries, 30), mapped(queries, 30))


@pytest.mark.parametrize("kind", ["OPQ8,IVF16_HNSW32,PQ16", *LARGE_KINDS])
def test_what_is_added_later_is_found_too(kind, tmp_path):
    vectors = clustered_vectors(3000)
    approximate.write_faiss(build(vectors[:2500], kind), tmp_path / "index")
    index = approximate.read_faiss(tmp_path / "index", mapped=False)
    index.add(vectors[2500:])
    engine = approximate.faiss_engine(index)
    level = Level(Column([vectors]), unscaled(vectors.shape[1]), NONE, lambda: engine)
    assert [ids[0] for ids, _ in level.nearest(vectors[2500:2600], 1)] == [*range(2500, 2600)]


@pytest.mark.parametrize("mapped", [False, True])
def test_a_damaged_faiss_file_is_refused_in_plain_words(mapped, tmp_path):
    path = tmp_path / "index"
    approximate.write_faiss(build(clustered_vectors(3000), "IVF16,SQ8"), path)
    content = path.read_bytes()
    lists = content.index(b"ilar") + 4  # their number, and the bytes of a vector
    for damaged in (
        content[:100],
        content[:lists] + b"\xff" * 7 + b"\x0f" + content[lists + 8 :],
        content[: lists + 8] + b"\xff" * 5 + b"\0\0\0" + content[lists + 16 :],
    ):
        path.write_bytes(damaged)
        with pytest.raises(DamagedFileError, match="FAISS cannot read it") as caught:
            approximate.read_faiss(path, mapped=mapped)
        assert caught.value.where == str(path)
        assert not any(word in str(caught.value) for word in ("Error in", "C++", ".cpp"))


@pytest.mark.parametrize("kind", LARGE_KINDS)
def test_lists_are_searched_until_nearly_all_is_found(kind, capsys):
    vectors = clustered_vectors(4000)
    index = build(vectors, kind)
    column, scaling = Column([vectors]), unscaled(vectors.shape[1])
    engine = approximate.faiss_engine(index)
    level = Level(column, scaling, NONE, lambda: engine)
    found = recall.tune(index, level, "clip")
    assert found.recall >= 0.95
    assert (found.neighbours, found.queries) == (10, 200)
    assert f"{found.recall:.1%} of the 10 nearest" in capsys.readouterr().err
    queries = clustered_vectors(50, seed=1)
    order, _ = brute_force(vectors, queries, 10)
    near = [set(ids.tolist()) for ids, _ in level.nearest(queries, 10)]
    assert np.mean([len(a & set(b)) / 10 for a, b in zip(near, order, strict=True)]) > 0.9


def test_an_index_that_misses_much_says_which_knob_to_turn(capsys):
    vectors = random_vectors(3000, 64)
    index = build(vectors, "PQ4")
    engine = approximate.faiss_engine(index)
    level = Level(Column([vectors]), unscaled(64), NONE, lambda: engine)
    assert recall.tune(index, level, "video").recall < 0.9
    assert "--factory RaBitQ4" in capsys.readouterr().err


@pytest.mark.parametrize("count", [1, 2, 3, 11])
def test_recall_of_few_entries(count):
    vectors = random_vectors(count)
    index = build(vectors, "HNSW")
    engine = approximate.faiss_engine(index)
    level = Level(Column([vectors]), unscaled(16), NONE, lambda: engine)
    found = recall.tune(index, level, "video")
    assert (found.recall, found.queries) == (1, count)


@pytest.mark.parametrize("kind", ["Flat16", "RaBitQ4", "HNSW", "IVF64,Flat", "IVF64,PQ16"])
@pytest.mark.parametrize("k", [1000, 3000])
def test_every_kind_gives_as_many_neighbours_as_there_are(kind, k):
    """Inverted files do not look into all lists; what they lack is compared one and all."""
    vectors, queries = clustered_vectors(3000), clustered_vectors(3, seed=1)
    removed = np.arange(0, 3000, 3)
    for ids, scores in nearest(kind, vectors, queries, k, removed=removed):
        assert len(ids) == len(set(ids.tolist())) == min(k, 2000)
        assert (ids % 3).all()
        assert (np.diff(scores) <= 0).all()


@pytest.mark.parametrize("kept", [1, 0.5, 0.1, 0.01, 0.001])
@pytest.mark.parametrize("queries", [1, 5, 30])
def test_search_among_few_entries_is_brute_force(kept, queries, monkeypatch):
    monkeypatch.setattr("vidssl_cli.search.columns.BLOCK", 128)
    vectors, asked = clustered_vectors(5000), clustered_vectors(queries, seed=1)
    allowed = np.sort(np.random.default_rng(0).permutation(5000)[: round(5000 * kept)])
    removed = np.setdiff1d(np.arange(5000), allowed)
    order, _ = brute_force(vectors[allowed], asked, 10)
    for row, (ids, _) in enumerate(nearest("exact", vectors, asked, 10, removed=removed)):
        assert ids.tolist() == allowed[order[row]].tolist()


@pytest.mark.parametrize("kind", ["exact", "Flat16", "RaBitQ4"])
def test_ties_beyond_all_candidates_stay_in_order(kind):
    vectors = np.tile(random_vectors(4), (300, 1))
    ids, _ = nearest(kind, vectors, vectors[1:2], 25)[0]
    assert ids.tolist() == [1 + 4 * copy for copy in range(25)]


def test_exact_search_does_not_use_faiss(monkeypatch):
    """So no threshold of FAISS's, whose unit has changed once, chooses its way."""
    monkeypatch.setitem(sys.modules, "faiss", None)
    vectors, queries = random_vectors(500), random_vectors(1100, seed=1)
    for count in (1, 2, 20, 1100):
        order, _ = brute_force(vectors, queries[:count], 5)
        found = nearest("exact", vectors, queries[:count], 5)
        assert [ids.tolist() for ids, _ in found] == order.tolist()


def test_arrays_that_are_only_read_are_no_reason_for_warnings(recwarn):
    vectors = random_vectors(500)
    vectors.flags.writeable = False
    nearest("exact", vectors, random_vectors(4, seed=1), 3)
    nearest("Flat16", vectors, random_vectors(4, seed=1), 3)
    assert not recwarn.list


def test_the_kind_of_a_large_index_follows_its_bytes():
    assert factories.default_factory(1_000_000, 512) == "Flat"
    assert factories.default_factory(1_100_000, 512) == "IVF,RaBitQ4"
    assert factories.default_factory(4_000_000, 128) == "Flat"


def test_inverted_files_choose_their_number_of_lists():
    assert factories.expand_factory("IVF,RaBitQ4", 1_000_000, 512) == "RR,IVF4000,RaBitQ4"
    assert factories.expand_factory("OPQ16,IVF_HNSW32,PQ16", 10_000, 64) == (
        "OPQ16,IVF256_HNSW32,PQ16"
    )
    assert factories.expand_factory("IVF,PQ64", 10**8, 512) == "IVF40000_HNSW32,PQ64"
    assert factories.expand_factory("Flat16", 10, 512) == "SQfp16"
    assert factories.expand_factory("RaBitQ4", 10, 512) == "RR,RaBitQ4"
    assert factories.expand_factory("OPQ16_64,IVF9,RaBitQ4", 10, 64) == "OPQ16_64,IVF9,RaBitQ4"


@pytest.mark.parametrize("kind", ["Flat16", "RaBitQ4"])
def test_rounding_loses_nothing_of_features_that_are_nearly_the_same(kind):
    """The features of a network that is not standardised: cosines differ in the fifth digit."""
    generator = np.random.default_rng(0)
    vectors = (1 + generator.normal(0, 0.01, (3000, 64))).astype(np.float32)
    queries = (1 + generator.normal(0, 0.01, (20, 64))).astype(np.float32)
    exact, half = (nearest(each, vectors, queries, 10) for each in ("exact", kind))
    for (ids, _), (same, _) in zip(exact, half, strict=True):
        assert ids.tolist() == same.tolist()


def test_half_precision_of_one_vector_and_of_equal_ones():
    for count in (1, 50):
        vectors = np.ones((count, 8), np.float32)
        ((ids, _),) = nearest("Flat16", vectors, vectors[:1], 10)
        assert ids.tolist() == [*range(min(count, 10))]
