"""The detector: a small convolutional network with one anchor-free head shared by strides 8, 16 and 32.

Input [N, 3, 192, 320], R, G, B, 0..1. Output [N, 4 + classes, cells]: box centre x, centre y, width, height in input
pixels, then one score per class, already 0..1. ReLU throughout: it is the cheapest activation on a CPU.
"""

import torch
from torch import nn

LABELS = ["person", "bicycle", "car"]
HEIGHT, WIDTH = 192, 320
STRIDES = (8, 16, 32)


class Conv(nn.Sequential):
    def __init__(self, c_in, c_out, kernel=3, stride=1):
        super().__init__(
            nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(c_out, momentum=0.03),
            nn.ReLU(inplace=True),
        )


class Residual(nn.Module):
    """Squeeze by 1x1, widen by 3x3, add."""

    def __init__(self, channels):
        super().__init__()
        self.squeeze = Conv(channels, channels // 2, 1)
        self.widen = Conv(channels // 2, channels, 3)

    def forward(self, x):
        return x + self.widen(self.squeeze(x))


class Detector(nn.Module):
    def __init__(self, classes=len(LABELS), neck=48):
        super().__init__()
        self.to4 = nn.Sequential(Conv(3, 16, 3, 2), Conv(16, 32, 3, 2), Residual(32))
        self.to8 = nn.Sequential(Conv(32, 64, 3, 2), Residual(64), Residual(64))
        self.to16 = nn.Sequential(Conv(64, 96, 3, 2), Residual(96), Residual(96))
        self.to32 = nn.Sequential(Conv(96, 96, 3, 2), Residual(96))
        self.lateral = nn.ModuleList([Conv(64, neck, 1), Conv(96, neck, 1), Conv(96, neck, 1)])
        self.smooth = nn.ModuleList([Conv(neck, neck), Conv(neck, neck)])
        self.up = nn.Upsample(scale_factor=2, mode="nearest")
        # One convolution for all strides, a norm for each: their activations differ, and a norm shared between them
        # would see one stride at a time in training and a mixture afterwards.
        self.head = nn.Conv2d(neck, neck, 3, padding=1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(neck, momentum=0.03) for _ in STRIDES)
        self.box = nn.Conv2d(neck, 4, 1)
        self.score = nn.Conv2d(neck, classes, 1)
        # Every stride has its own idea of a usual size.
        self.scale = nn.Parameter(torch.ones(len(STRIDES)))
        nn.init.constant_(self.box.bias, 0.8)
        nn.init.constant_(self.score.bias, -4.5)
        points, strides = [], []
        for s in STRIDES:
            ys, xs = torch.meshgrid(torch.arange(HEIGHT // s), torch.arange(WIDTH // s), indexing="ij")
            points.append(torch.stack([xs, ys], -1).reshape(-1, 2).float().add(0.5).mul(s))
            strides.append(torch.full((xs.numel(), 1), float(s)))
        self.register_buffer("points", torch.cat(points), persistent=False)
        self.register_buffer("strides", torch.cat(strides), persistent=False)

    def raw(self, x):
        """Logits [N, cells, classes] and boxes as corners [N, cells, 4] in pixels."""
        c8 = self.to8(self.to4(x))
        c16 = self.to16(c8)
        c32 = self.to32(c16)
        p32 = self.lateral[2](c32)
        p16 = self.smooth[1](self.lateral[1](c16) + self.up(p32))
        p8 = self.smooth[0](self.lateral[0](c8) + self.up(p16))
        scores, reaches = [], []
        for i, p in enumerate((p8, p16, p32)):
            h = self.norms[i](self.head(p)).relu()
            scores.append(self.score(h).flatten(2))
            reaches.append((self.box(h) * self.scale[i]).flatten(2))
        scores = torch.cat(scores, 2).transpose(1, 2).float()
        reach = torch.cat(reaches, 2).transpose(1, 2).float().clamp(-4, 4).exp() * self.strides
        corners = torch.cat([self.points - reach[..., :2], self.points + reach[..., 2:]], -1)
        return scores, corners

    def forward(self, x):
        scores, corners = self.raw(x)
        low, high = corners[..., :2], corners[..., 2:]
        return torch.cat([(low + high) * 0.5, high - low, scores.sigmoid()], -1).transpose(1, 2)
