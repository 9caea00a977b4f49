"""Caches of keys and values: what dotk.attention() gives for the same arrays, bit for bit."""

import threading

import dotk
import numpy as np
import pytest

rng = np.random.default_rng(4)


def normal(*shape):
    return rng.standard_normal(shape, dtype=np.float32)


H, G, D, E = 4, 2, 8, 6
ones = np.ones((G, 1, D), np.float32)


def filled(tokens, **options):
    cache = dotk.Cache(G, D, value_width=E, **options)
    sequence = cache.sequence()
    k, v = normal(G, tokens, D), normal(G, tokens, E)
    sequence.add(k, v)
    return cache, sequence, k, v


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16", "int8"])
def test_attention(dtype):
    cache, a, k, v = filled(300, dtype=dtype, page_keys=64)
    assert (cache.heads, cache.width, cache.value_width, cache.dtype) == (G, D, E, dtype)
    assert len(a) == 300 and cache.usage()["pages_in_use"] == 5
    stored = a.get()
    near = {"f32": 0, "f16": 4e-3, "bf16": 3e-2, "int8": 2e-2}[dtype]
    np.testing.assert_allclose(stored[0], k, atol=near)
    np.testing.assert_allclose(stored[1], v, atol=near)
    assert (a.get(290, 5)[0] == stored[0][:, 290:295]).all()
    b = a.fork(70)
    b.add(k[:, :1], v[:, :1])
    q = normal(H, 5, D)
    out, lse = cache.attention([a, b], q, queries=[2, 3], causal=True, lse=True)
    for sequence, part, offset in ((a, slice(0, 2), 298), (b, slice(2, 5), 68)):
        kept = sequence.get()
        one = dotk.attention(q[:, part], *kept, causal=True, query_offset=offset, lse=True)
        np.testing.assert_allclose(out[:, part], one[0], atol=2e-5 if dtype == "int8" else 2e-6)
        np.testing.assert_allclose(lse[:, part], one[1], atol=1e-4 if dtype == "int8" else 4e-6)
        if dtype == "f32":
            assert (out[:, part] == one[0]).all()
    b.truncate(10)
    assert len(b) == 10 and (b.get()[0] == stored[0][:, :10]).all()
    last, right = cache.attention([b], q[:, :1]), dotk.attention(q[:, :1], *b.get())
    atol = {"f32": 0, "int8": 2e-5}.get(dtype, 2e-6)
    np.testing.assert_allclose(last, right, rtol=0, atol=atol)


def test_names_of_types():
    for name, kept in (("float32", "f32"), ("float16", "f16"), ("bfloat16", "bf16")):
        assert dotk.Cache(G, D, name).dtype == dotk.Index(D, dtype=name).dtype == kept
    assert dotk.Cache(G, D, "i8").dtype == dotk.Index(D, dtype="int8").dtype == "int8"
    with pytest.raises(ValueError, match="dtype is 'uint8': give \"f32\" or"):
        dotk.Cache(G, D, "uint8")


def test_rotary_and_strides():
    cache = dotk.Cache(G, D)
    sequence = cache.sequence()
    k, v = normal(7, G, D).swapaxes(0, 1), normal(7, G, D).swapaxes(0, 1)
    sequence.add(k[:, :3], v[:, :3], rotary=True)
    sequence.add(k[:, 3:], v[:, 3:], rotary=True, positions=[3, 4, 5, 6])
    found = sequence.get()
    assert (found[0] == dotk.rotary(k)).all() and (found[1] == v).all()
    out = np.empty((1, H, 1, D), np.float32)
    assert cache.attention([sequence], normal(1, H, 1, D), out=out) is out


def test_a_cache_outlives_its_name():
    sequence = filled(3)[1]
    fork = sequence.fork()
    del sequence
    assert len(fork) == 3 and fork.get()[0].shape == (G, 3, D)


def test_threads_extend_their_own_sequences():
    cache, first, k, v = filled(100)
    forks = [first.fork() for _ in range(4)]

    def extend(sequence):
        for i in range(100):
            sequence.add(k[:, i : i + 1], v[:, i : i + 1])

    threads = [threading.Thread(target=extend, args=(fork,)) for fork in forks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for fork in forks:
        assert (fork.get()[0] == np.concatenate([k, k], 1)).all()


def test_one_sequence_is_not_written_by_two_threads():
    """Whoever comes while another is inside is refused, and what is there stays whole."""
    cache = dotk.Cache(8, 64)
    sequence = cache.sequence()
    k = np.ones((8, 20000, 64), np.float32)
    refused, added = [], []

    def extend(both):
        both.wait()
        try:
            sequence.add(k, k)
            added.append(1)
        except RuntimeError as error:
            refused.append(str(error))

    for _ in range(100):  # until they meet
        sequence.truncate(0)
        added.clear()
        both = threading.Barrier(2)
        threads = [threading.Thread(target=extend, args=(both,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(sequence) == 20000 * len(added) and len(added) + len(refused) == 2
        if refused:
            break
    assert len(refused) == 1 and "in use by another thread" in refused[0]


@pytest.mark.parametrize(
    "call, error, says",
    [
        (lambda c, s: dotk.Cache(0, 8), ValueError, "heads is 0"),
        (lambda c, s: dotk.Cache(1, 8, "f64"), ValueError, "dtype is 'f64'"),
        (lambda c, s: dotk.Cache(1, 8, page_keys=3), ValueError, "page_keys is 3"),
        (lambda c, s: dotk.Sequence(), TypeError, "cannot create"),
        (lambda c, s: s.add(normal(G, 2, D), normal(G, 3, E)), ValueError, r"give \(2, 2, 6\)"),
        (lambda c, s: s.add(normal(1, 2, D), normal(1, 2, E)), ValueError, r"give \(2, 2, 8\)"),
        (lambda c, s: s.add(ones, ones[..., :E], theta=5e5), ValueError, "theta is 5.* without ro"),
        (lambda c, s: s.add(ones, ones[..., :E], positions=[0]), ValueError, "positions .*both"),
        (lambda c, s: s.get(2, 2), ValueError, "the sequence has 3 tokens"),
        (lambda c, s: s.fork(4), ValueError, "4"),
        (lambda c, s: s.truncate(4), ValueError, "4"),
        (lambda c, s: c.attention([s], normal(H, 2, D)), ValueError, "q has 2 queries: give"),
        (lambda c, s: c.attention([s], normal(H, 1, D), queries=[-1]), ValueError, "give queries="),
        (lambda c, s: c.attention([s], normal(H, 1, 4)), ValueError, r"give \(H, L, 8\)"),
        (lambda c, s: c.attention([s], normal(3, 1, D)), ValueError, "heads is 3"),
        (lambda c, s: c.attention(s, normal(H, 1, D)), TypeError, "give a list of sequences"),
        (lambda c, s: c.attention([1], normal(H, 1, D)), TypeError, r"sequences\[0\] is 1"),
        (
            lambda c, s: dotk.Cache(G, D).attention([s], normal(H, 1, D)),
            TypeError,
            "give sequences of this cache",
        ),
        (
            lambda c, s: c.attention([s], normal(H, 1, D), query_offset=1),
            ValueError,
            "query_offset is given",
        ),
    ],
)
def test_refused(call, error, says):
    cache, sequence, _, _ = filled(3)
    with pytest.raises(error, match=says):
        call(cache, sequence)
    assert len(sequence) == 3
