"""Tensors in, tensors out, by DLPack; bfloat16; devices and gradients refused."""

import dotk
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")


def test_tensors_in_tensors_out():
    a, b = torch.randn(4, 9), torch.randn(9)
    assert isinstance(dotk.dot(b, b), float)
    products = dotk.dot(a, b)
    assert isinstance(products, torch.Tensor) and products.dtype == torch.float32
    torch.testing.assert_close(products, a @ b)
    torch.testing.assert_close(dotk.softmax(a), torch.softmax(a, -1))
    torch.testing.assert_close(dotk.normalize(a), torch.nn.functional.normalize(a))
    assert (dotk.dot(a.numpy(), b.numpy()) == products.numpy()).all()
    out = torch.empty(4)
    assert dotk.dot(a, b, out=out) is out and (out == products).all()


def test_strided_tensors():
    a = torch.randn(8, 12)[::2, 3:10]
    assert (dotk.norm(a) == dotk.norm(a.contiguous())).all()
    with pytest.raises(ValueError, match=r"a: .*12 elements apart.*a\.contiguous\(\)"):
        dotk.norm(torch.randn(8, 12).T)


@pytest.mark.parametrize("type", ["float16", "bfloat16", "float64", "int8", "int64"])
def test_conversion(type):
    a = torch.arange(1, 9).to(getattr(torch, type))
    assert dotk.dot(a, torch.ones(8)) == 36
    assert dotk.norm(a[::2].reshape(2, 2).T).shape == (2,)


def test_index():
    rows = torch.randn(50, 8)
    index = dotk.Index(8)
    index.add(rows, torch.arange(50) * 2)
    ids, scores = index.search(rows[:3], 4, filter=torch.arange(100) % 4 == 0)
    assert ids.dtype == torch.int64 and scores.dtype == torch.float32
    assert (ids % 4 == 0).all()
    whole = torch.topk(rows[:3] @ rows[::2].T, 4)
    torch.testing.assert_close(scores, whole.values)
    assert (ids == whole.indices * 4).all()
    out = torch.empty(3, 4, dtype=torch.int64), torch.empty(3, 4)
    assert index.search(rows[:3], 4, out=out) is out
    assert torch.is_tensor(index.range(rows[0], 1.0)[1])
    assert (index.reconstruct(torch.tensor([4])) == rows[2]).all()
    index.remove(torch.arange(0, 100, 2)[::5])


def test_refused():
    with pytest.raises(ValueError, match="a: .*requires? grad"):
        dotk.norm(torch.ones(3, requires_grad=True))
    with pytest.raises(TypeError, match="a holds elements of another kind: give float32"):
        dotk.norm(torch.ones(3, dtype=torch.complex64))
    with pytest.raises((TypeError, ValueError), match="a"):
        dotk.norm(torch.ones(3, device="meta"))
    with pytest.raises(TypeError, match="out holds int64: give float32"):
        dotk.normalize(torch.ones(3), out=torch.ones(3, dtype=torch.int64))


def test_lazy_signs_are_refused():
    x = torch.randn(3, 1, dtype=torch.complex64).conj().imag[:, 0]
    assert x.is_neg()
    with pytest.raises(ValueError, match=r"a is negated lazily: pass a\.resolve_neg\(\)"):
        dotk.norm(x)
    rows = torch.view_as_real(torch.randn(2, 3, dtype=torch.complex64)).contiguous()
    with pytest.raises(ValueError, match="a: .*conj"):
        dotk.norm(torch.view_as_complex(rows).conj())


def test_other_producers():
    """Anything with __dlpack__ is an array: numpy comes out."""

    class Wrapped:
        def __init__(self, inner):
            self.inner = inner

        def __dlpack__(self):
            return self.inner.__dlpack__()

    class Nothing:
        def __dlpack__(self):
            return 3

    assert isinstance(dotk.normalize(Wrapped(torch.ones(4))), np.ndarray)
    with pytest.raises(TypeError, match="whose __dlpack__\\(\\) gives no array"):
        dotk.norm(Nothing())


def test_versioned_capsules():
    class Versioned:
        def __init__(self, inner):
            self.inner = inner

        def __dlpack__(self):
            return self.inner.__dlpack__(max_version=(1, 0))

    frozen = np.ones(4, np.float32)
    frozen.flags.writeable = False
    assert dotk.norm(Versioned(frozen)) == 2.0
    with pytest.raises(ValueError, match="out is read-only"):
        dotk.normalize(frozen, out=Versioned(frozen))
