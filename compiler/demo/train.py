"""Trains the network of digits.net on scikit-learn's handwritten digits.

    pip install torch scikit-learn safetensors
    python train.py              a few minutes on one core; writes the files below beside this script
    python train.py --validate   trains on two thirds of the training images at a time and prints how many of the rest are right

The data are the 1,797 images of 8x8 pixels of `sklearn.datasets.load_digits` (UCI, Optical Recognition of Handwritten
Digits, Alpaydin and Kaynak 1998). They stand in the file by writer. The last 360 are the test set, by writers of whom
the training images hold none or few: they decide nothing. The schedule, its length and the augmentation were chosen by
`--validate`, which sees the first 1,437 only, and the weights kept are those at the end of the schedule.

    digits.safetensors         the weights, named as in digits.net, float32
    digits_images.npy          the 360 test images, uint8 [360, 1, 8, 8], values 0 to 16
    digits_labels.npy          the digits that were written, uint8 [360]
    digits_probabilities.npy   what PyTorch answers with these weights, computed in float64, stored as float32 [360, 10]
"""
import argparse
import copy
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from torch import nn

HERE = Path(__file__).parent
TEST = 360
FULL_INK = 16.0
EPOCHS, BATCH, LEARNING_RATE, WEIGHT_DECAY, SMOOTHING, AVERAGE = 80, 64, 4e-3, 0.05, 0.1, 0.995


class ConvBn(nn.Module):
    """Convolution without bias, BatchNorm."""

    def __init__(self, inputs, channels, kernel, stride=1, groups=1):
        super().__init__()
        self.conv = nn.Conv2d(inputs, channels, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x):
        return self.bn(self.conv(x))


class InvertedResidual(nn.Module):
    """Widen, filter each channel by itself, narrow, and add the input."""

    def __init__(self, channels, hidden):
        super().__init__()
        self.expand = ConvBn(channels, hidden, 1)
        self.filter = ConvBn(hidden, hidden, 3, groups=hidden)
        self.project = ConvBn(hidden, channels, 1)

    def forward(self, x):
        y = F.hardswish(self.expand(x))
        y = F.hardswish(self.filter(y))
        return x + self.project(y)


class Digits(nn.Module):
    """The network of digits.net without its softmax."""

    def __init__(self):
        super().__init__()
        self.stem = ConvBn(1, 24, 3)
        self.fine = InvertedResidual(24, 72)
        self.down = ConvBn(24, 48, 3, stride=2, groups=3)
        self.coarse = nn.ModuleList([InvertedResidual(48, 192), InvertedResidual(48, 192)])
        self.head = ConvBn(48, 96, 1)
        self.dropout = nn.Dropout(0.2)
        self.classifier = nn.Linear(96, 10)

    def forward(self, x):
        x = F.hardswish(self.stem(x))
        x = self.fine(x)
        x = F.hardswish(self.down(x))
        for block in self.coarse:
            x = block(x)
        x = F.hardswish(self.head(x))
        return self.classifier(self.dropout(x.mean((2, 3))))


def uniform(n, low, high):
    """n numbers, evenly spread from low to high."""
    return low + (high - low) * torch.rand(n)


def augment(x):
    """Each image turned, sheared, scaled, shifted and bent a little, with another pressure of the pen; values 0 to 1."""
    n = len(x)
    angle, shear = uniform(n, -0.25, 0.25), uniform(n, -0.25, 0.25)
    wide, high = uniform(n, 0.85, 1.2), uniform(n, 0.85, 1.2)
    cos, sin = torch.cos(angle), torch.sin(angle)
    # Coordinates run from -1 to 1, so one pixel is 0.25.
    rows = torch.stack([wide * cos, -high * (sin - shear * cos), uniform(n, -0.25, 0.25),
                        wide * sin, high * (cos + shear * sin), uniform(n, -0.2, 0.2)], 1)
    grid = F.affine_grid(rows.view(n, 2, 3), x.shape, align_corners=False)
    bend = F.interpolate(torch.randn(n, 2, 4, 4) * 0.06, size=x.shape[2:], mode="bicubic", align_corners=True)
    x = F.grid_sample(x, grid + bend.permute(0, 2, 3, 1), mode="bicubic", align_corners=False).clamp(0, 1)
    x = x ** torch.exp(uniform(n, -0.4, 0.4)).view(n, 1, 1, 1)
    return (x + 0.04 * torch.randn_like(x)).clamp(0, 1)


def fit(images, labels, seed):
    """A network trained on `images` (values 0 to 1): the running average of its weights at the end of the schedule."""
    torch.manual_seed(seed)
    net = Digits().train()
    average = copy.deepcopy(net).eval()
    bare = [p for p in net.parameters() if p.ndim < 2]
    kernels = [p for p in net.parameters() if p.ndim >= 2]
    optimizer = torch.optim.AdamW([{"params": kernels, "weight_decay": WEIGHT_DECAY}, {"params": bare, "weight_decay": 0.0}])
    steps_per_epoch = len(images) // BATCH
    steps = EPOCHS * steps_per_epoch
    step = 0
    for epoch in range(EPOCHS):
        order = torch.randperm(len(images))
        for k in range(steps_per_epoch):
            rate = min(1.0, (step + 1) / (steps * 0.05)) * 0.5 * (1 + math.cos(math.pi * step / steps))
            for group in optimizer.param_groups:
                group["lr"] = LEARNING_RATE * rate
            pick = order[k * BATCH:(k + 1) * BATCH]
            loss = F.cross_entropy(net(augment(images[pick])), labels[pick], label_smoothing=SMOOTHING)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            keep = min(AVERAGE, step / (step + 10))
            with torch.no_grad():
                for old, new in zip(average.state_dict().values(), net.state_dict().values()):
                    if old.is_floating_point():
                        old.lerp_(new, 1 - keep)
        if (epoch + 1) % 20 == 0:
            print(f"epoch {epoch + 1}: loss {loss.item():.3f}", flush=True)
    return average


@torch.no_grad()
def probabilities(net, images):
    """The net's answers, computed in float64."""
    return copy.deepcopy(net).double().eval()(images.double()).softmax(1)


def validate(images, labels):
    """Leaves out each third of the training images in turn: whole runs of the file, so mostly other writers."""
    right = 0
    for held_out in torch.arange(len(images)).chunk(3):
        rest = torch.ones(len(images), dtype=torch.bool)
        rest[held_out] = False
        answers = probabilities(fit(images[rest], labels[rest], seed=1), images[held_out]).argmax(1)
        now = (answers == labels[held_out]).sum().item()
        right += now
        print(f"{now} of {len(held_out)} held out are right", flush=True)
    print(f"validation: {right / len(images):.2%}")


def weights(net):
    """The net's tensors for an input of 0 to 16. Dividing by a power of two is exact."""
    tensors = {k: v.contiguous().clone() for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}
    tensors["stem.conv.weight"] /= FULL_INK
    return tensors


def main():
    parser = argparse.ArgumentParser(description="trains the network of digits.net")
    parser.add_argument("--validate", action="store_true", help="cross-validate within the training images, write nothing")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)

    digits = load_digits()
    raw = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1)
    labels = torch.tensor(digits.target)
    images = raw[:-TEST] / FULL_INK
    if args.validate:
        return validate(images, labels[:-TEST])

    tensors = weights(fit(images, labels[:-TEST], seed=1))
    net = Digits()
    net.load_state_dict(tensors, strict=False)
    answers = probabilities(net, raw[-TEST:])
    right = (answers.argmax(1) == labels[-TEST:]).sum().item()
    print(f"{right} of {TEST} are right: {right / TEST:.2%}; {sum(t.numel() for t in tensors.values()):,} numbers")

    save_file(tensors, HERE / "digits.safetensors")
    np.save(HERE / "digits_images.npy", raw[-TEST:].numpy().astype(np.uint8))
    np.save(HERE / "digits_labels.npy", labels[-TEST:].numpy().astype(np.uint8))
    np.save(HERE / "digits_probabilities.npy", answers.numpy().astype(np.float32))


if __name__ == "__main__":
    main()
