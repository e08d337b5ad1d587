"""Writes the state dicts beside this script: python make.py

Element i of every tensor, counted in row-major order of the tensor as a network sees it, is (7 i mod 23 - 11) / 8, which
all types of numbers with fractions hold; whole numbers are 7 i mod 23, and minus 11 where they have a sign.
"""

import argparse
import collections
import datetime
import os
import pathlib
import zipfile
from collections import OrderedDict

import numpy as np
import torch

HERE = os.path.dirname(os.path.abspath(__file__))


def values(shape, dtype=torch.float32):
    count = torch.Size(shape).numel()
    whole = (7 * torch.arange(count)) % 23
    if dtype == torch.bool:
        return (whole % 2 == 1).reshape(shape)
    if dtype == torch.uint8:
        return whole.to(dtype).reshape(shape)
    if not dtype.is_floating_point:
        return (whole - 11).to(dtype).reshape(shape)
    return ((whole - 11) / 8).to(dtype).reshape(shape)


def save(name, value, **options):
    torch.save(value, os.path.join(HERE, name), **options)
    torch.save(value, os.path.join(HERE, "legacy_" + name), _use_new_zipfile_serialization=False, **options)


class Small(torch.nn.Module):
    """The network of `small.net` in the tests."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3)
        self.bn = torch.nn.BatchNorm2d(4)
        self.fc = torch.nn.Linear(4, 5)
        state = self.state_dict()
        self.load_state_dict({name: values(value.shape) for name, value in state.items() if value.dim()}, strict=False)
        self.bn.running_var.abs_().add_(1)

    def forward(self, x):
        return self.fc(self.bn(self.conv(x)).mean((2, 3)))


small = Small()
save("small.pth", small.state_dict())
torch.save(small.state_dict(), os.path.join(HERE, "protocol4.pth"), pickle_protocol=4)

TYPES = "float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8 bool".split()
save("types.pth", {name: values((3, 5), getattr(torch, name)) for name in TYPES})

base = values((4, 6))
wide = torch.zeros(5, 9, dtype=torch.float16)
wide[1:4, 2:8:2] = values((3, 3)).half()
save(
    "views.pth",
    OrderedDict(
        transposed=values((4, 6)).t().contiguous().t(),
        channels_last=values((2, 3, 4, 5)).contiguous(memory_format=torch.channels_last),
        sliced=wide[1:4, 2:8:2],
        expanded=values((1,)).expand(2, 3),
        row=torch.cat([torch.zeros(6), values((6,))])[6:],
        scalar=values(()),
        empty=torch.zeros(0, 3),
        shared=base,
        alias=base,
        parameter=torch.nn.Parameter(values((3, 2))),
    ),
)

optimizer = torch.optim.Adam(small.parameters())
optimizer.zero_grad()
small(torch.zeros(2, 3, 5, 5)).sum().backward()
optimizer.step()
trained = Small().state_dict()
save(
    "checkpoint.pth",
    {
        "epoch": 3,
        "best": 0.75,
        "args": None,
        "history": [1.5, "x", (2, True)],
        "model": {"module." + name: value for name, value in trained.items()},
        "ema": OrderedDict((name, value + 1) for name, value in trained.items()),
        "optimizer": optimizer.state_dict(),
    },
)


class Evil:
    def __reduce__(self):
        return (os.system, ("true",))


save("call.pth", {"x": values((2,)), "y": Evil()})
save("module.pth", torch.nn.Linear(2, 3))
torch.jit.script(torch.nn.Linear(2, 3)).save(os.path.join(HERE, "script.pth"))
torch.save({"x": values((3, 3)).to_sparse()}, os.path.join(HERE, "sparse.pth"))
torch.save({"x": torch.zeros(2, dtype=torch.complex64)}, os.path.join(HERE, "complex.pth"))


class Config(dict):
    """Settings of a training program: a dict of its own kind."""


# What training programs keep beside the tensors.
save(
    "training.pth",
    {
        "args": argparse.Namespace(lr=0.1, size=(3, 4)),
        "best": np.float64(0.75),
        "losses": [np.float32(1.5), np.int64(2)],
        "array": np.arange(6).reshape(2, 3),
        "history": collections.defaultdict(list, train=[1.0], test=[2.0]),
        "counts": collections.Counter("aab"),
        "config": Config(depth=3, name="small"),
        "device": torch.device("cpu"),
        "dtype": torch.float16,
        "size": torch.Size([1, 3, 5, 5]),
        "seen": {1, 2, 3},
        "frozen": frozenset({"conv"}),
        "path": pathlib.PurePosixPath("runs/small"),
        "date": datetime.datetime(2024, 2, 29, 12, 30),
        "span": datetime.timedelta(hours=3),
        "complex": 1 + 2j,
        "params": trained,
        "params_ema": OrderedDict((name, value + 1) for name, value in trained.items()),
        "optimizer": optimizer.state_dict(),
    },
)

# Tensors that are read beside some that are not.
kinds = OrderedDict(trained)
kinds["f8"] = values((3,)).to(torch.float8_e4m3fn)
kinds["complex"] = torch.zeros(2, dtype=torch.complex64)
kinds["sparse"] = values((3, 3)).to_sparse()
kinds["u16"] = (7 * torch.arange(6) % 23).to(torch.uint16).reshape(2, 3)
kinds["attributed"] = torch.nn.Parameter(values((2, 3)))
kinds["attributed"].note = "kept"
save("kinds.pth", kinds)

# A network saved whole, and one within a dict.
save("nested_module.pth", {"model": torch.nn.Sequential(Small(), torch.nn.ReLU()), "epoch": 3})

with zipfile.ZipFile(os.path.join(HERE, "training.pth")) as plain:
    with zipfile.ZipFile(os.path.join(HERE, "deflated.pth"), "w", zipfile.ZIP_DEFLATED) as packed:
        for name in plain.namelist():
            packed.writestr(zipfile.ZipInfo(name), plain.read(name), zipfile.ZIP_DEFLATED, 9)
    with zipfile.ZipFile(os.path.join(HERE, "lzma.pth"), "w", zipfile.ZIP_LZMA) as packed:
        for name in plain.namelist():
            packed.writestr(zipfile.ZipInfo(name), plain.read(name), zipfile.ZIP_LZMA)
