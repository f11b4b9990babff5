"""What torch says of the future of TorchScript."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

#: A FutureWarning from torch 2.14 on, before that a DeprecationWarning; not the one about Python 3.14.
DEPRECATED = r"`torch\.jit\.\w+` is deprecated"


@contextmanager
def deprecation_is_known() -> Iterator[None]:
    """Around a call of torch.jit, whose deprecation is no news: files hold the weights beside the TorchScript.

    Who exports a model that has nothing but TorchScript is told so by `write_model`.
    """
    with warnings.catch_warnings():
        for category in (FutureWarning, DeprecationWarning):
            warnings.filterwarnings("ignore", DEPRECATED, category)
        yield
