"""Trains the street detector on rendered pictures and exports it to ONNX.

    cargo run --release --example render_training -- DATA/train train 7000 1
    python models/train/train.py --data DATA/train --steps 1600 --out models/street.onnx

An exported model can be trained on with --resume. models/CARD.md says how the committed weights came to be.

No photograph is involved anywhere. The assignment is task-aligned (TOOD), the loss binary cross entropy with soft
targets plus complete IoU. Objects too hidden or too small to be seen are neither positive nor negative. A share of
every batch is pictures with nothing in them at all (see `flat`): a covered lens or a lost signal must not be a car.
"""

import argparse
import copy
import json
import math
import time

import cv2
import numpy as np
import onnx
import torch
import torch.nn.functional as F

from net import HEIGHT, LABELS, STRIDES, WIDTH, Detector

HIDDEN_MAX, OUTSIDE_MAX, LOW_PIXELS, NARROW_PIXELS = 0.7, 0.8, 6.0, 2.5


def load(folder):
    pictures = np.memmap(f"{folder}/pictures.u8", dtype=np.uint8, mode="r").reshape(-1, HEIGHT, WIDTH, 3)
    with open(f"{folder}/labels.jsonl") as lines:
        labels = [np.array(json.loads(line), np.float32).reshape(-1, 7) for line in lines]
    return pictures[: len(labels)], labels


def countable(rows):
    """Which objects can fairly be asked for."""
    w, h = rows[:, 3] - rows[:, 1], rows[:, 4] - rows[:, 2]
    return (rows[:, 5] <= HIDDEN_MAX) & (rows[:, 6] <= OUTSIDE_MAX) & (h >= LOW_PIXELS) & (w >= NARROW_PIXELS)


def augment(picture, rows, rng, zoom):
    rows = rows.copy()
    # Size and place.
    if rng.random() < 0.7:
        s = math.exp(rng.uniform(-1.4, 1.0) * math.log(zoom))
        tx = rng.uniform(-0.15, 0.15) * WIDTH + (1 - s) * rng.random() * WIDTH
        ty = rng.uniform(-0.15, 0.15) * HEIGHT + (1 - s) * rng.random() * HEIGHT
        move = np.float32([[s, 0, tx], [0, s, ty]])
        how = cv2.INTER_AREA if s < 1 else cv2.INTER_LINEAR
        if s < 1:
            small = cv2.resize(picture, None, fx=s, fy=s, interpolation=how)
            moved = np.full_like(picture, 114)
            x, y = int(round(tx)), int(round(ty))
            x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + small.shape[1], WIDTH), min(y + small.shape[0], HEIGHT)
            if x1 > x0 and y1 > y0:
                moved[y0:y1, x0:x1] = small[y0 - y : y1 - y, x0 - x : x1 - x]
            picture = moved
        else:
            picture = cv2.warpAffine(picture, move, (WIDTH, HEIGHT), flags=how, borderValue=(114, 114, 114))
        full = (rows[:, 3] - rows[:, 1]) * (rows[:, 4] - rows[:, 2]) * s * s
        rows[:, [1, 3]] = (rows[:, [1, 3]] * s + tx).clip(0, WIDTH)
        rows[:, [2, 4]] = (rows[:, [2, 4]] * s + ty).clip(0, HEIGHT)
        left = (rows[:, 3] - rows[:, 1]) * (rows[:, 4] - rows[:, 2])
        rows[:, 6] = 1 - (1 - rows[:, 6]) * left / np.maximum(full, 1e-3)
        rows = rows[left > 1]
    if rng.random() < 0.5:
        picture = picture[:, ::-1]
        rows[:, [1, 3]] = WIDTH - rows[:, [3, 1]]
    picture = np.ascontiguousarray(picture)
    if rng.random() < 0.3:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.3, 1.1))
    if rng.random() < 0.4:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 90))]
        picture = cv2.imdecode(cv2.imencode(".jpg", picture, quality)[1], cv2.IMREAD_COLOR)
    # Light and sensor, in floating point.
    x = picture.astype(np.float32) / 255
    if rng.random() < 0.8:
        x = (x - 0.5) * rng.uniform(0.65, 1.3) + 0.5 + rng.uniform(-0.12, 0.12)
        x *= rng.uniform(0.88, 1.12, 3).astype(np.float32)
    if rng.random() < 0.15:
        x = np.repeat(x.mean(2, keepdims=True), 3, 2)
    if rng.random() < 0.4:
        x += rng.standard_normal(x.shape, np.float32) * rng.uniform(0, 0.03)
    if rng.random() < 0.08:
        x = x[:, :, ::-1]
    return np.clip(x, 0, 1).transpose(2, 0, 1), rows


def flat(rng):
    """A letterboxed picture of nothing: one colour, dark more often than not, at times uneven or noisy."""
    # The shape of the source decides where the border of the letterbox runs, which is all there is to see.
    aspect = math.exp(rng.uniform(math.log(0.5), math.log(2.6)))
    h = max(1, min(HEIGHT, round(WIDTH / aspect)))
    w = max(1, min(WIDTH, round(HEIGHT * aspect)))
    colour = np.full(3, 255 * rng.random() ** 2) if rng.random() < 0.6 else 255 * rng.random(3) * rng.random()
    x = np.broadcast_to(colour.astype(np.float32), (h, w, 3)).copy()
    ys, xs = np.mgrid[-1 : 1 : h * 1j, -1 : 1 : w * 1j].astype(np.float32)
    if rng.random() < 0.25:
        angle = rng.uniform(0, 2 * math.pi)
        x += ((math.cos(angle) * xs + math.sin(angle) * ys) * rng.uniform(0, 50))[..., None]
    if rng.random() < 0.25:
        x *= (1 - rng.uniform(0, 0.5) * (xs**2 + ys**2))[..., None]
    if rng.random() < 0.35:
        x += rng.standard_normal(x.shape, np.float32) * rng.uniform(0, 10)
    picture = np.full((HEIGHT, WIDTH, 3), 114, np.float32)
    top, left = (HEIGHT - h) // 2, (WIDTH - w) // 2
    picture[top : top + h, left : left + w] = np.clip(x, 0, 255).round()
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)) / 255), np.zeros((0, 7), np.float32)


class Pictures(torch.utils.data.Dataset):
    def __init__(self, folder, seed, zoom):
        self.pictures, self.labels = load(folder)
        self.seed, self.zoom = seed, zoom

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, key):
        step, i = key
        x, rows = augment(
            np.asarray(self.pictures[i]), self.labels[i], np.random.default_rng((self.seed, step, i)), self.zoom
        )
        return torch.from_numpy(np.ascontiguousarray(x)), rows


def pad(batch):
    """Pictures, boxes [N, M, 4], classes [N, M] (-1 = nothing, -2 = not countable)."""
    most = max(1, max(len(rows) for _, rows in batch))
    boxes, classes = torch.zeros(len(batch), most, 4), torch.full((len(batch), most), -1, dtype=torch.long)
    for n, (_, rows) in enumerate(batch):
        if len(rows):
            boxes[n, : len(rows)] = torch.from_numpy(rows[:, 1:5])
            classes[n, : len(rows)] = torch.from_numpy(np.where(countable(rows), rows[:, 0], -2).astype(np.int64))
    return torch.stack([x for x, _ in batch]), boxes, classes


def iou(a, b, complete=False):
    """Of corner boxes, broadcast over the last dimension's boxes."""
    (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) = a.unbind(-1), b.unbind(-1)
    w = (torch.minimum(ax1, bx1) - torch.maximum(ax0, bx0)).clamp(min=0)
    h = (torch.minimum(ay1, by1) - torch.maximum(ay0, by0)).clamp(min=0)
    aw, ah, bw, bh = ax1 - ax0, ay1 - ay0, bx1 - bx0, by1 - by0
    value = w * h / (aw * ah + bw * bh - w * h + 1e-7)
    if not complete:
        return value
    cw = torch.maximum(ax1, bx1) - torch.minimum(ax0, bx0)
    ch = torch.maximum(ay1, by1) - torch.minimum(ay0, by0)
    apart = ((ax0 + ax1 - bx0 - bx1) ** 2 + (ay0 + ay1 - by0 - by1) ** 2) / 4
    v = 4 / math.pi**2 * (torch.atan(bw / (bh + 1e-7)) - torch.atan(aw / (ah + 1e-7))) ** 2
    with torch.no_grad():
        alpha = v / (1 - value + v + 1e-7)
    return value - apart / (cw**2 + ch**2 + 1e-7) - alpha * v


@torch.no_grad()
def assign(scores, corners, points, boxes, classes, top=8):
    """Which cell answers for which object: index [N, cells] (-1 = none), soft target, cells to leave out."""
    real, vague = classes >= 0, classes == -2
    centre, size = (boxes[..., :2] + boxes[..., 2:]) / 2, (boxes[..., 2:] - boxes[..., :2]).clamp(min=10.0)
    inside = ((points[None, None] - centre[:, :, None]).abs() < size[:, :, None] / 2).all(-1)
    overlap = iou(boxes[:, :, None], corners[:, None])
    score = scores.gather(2, classes.clamp(min=0)[:, None].expand(-1, scores.shape[1], -1)).transpose(1, 2).sigmoid()
    fit = score.sqrt() * overlap.pow(4) * (inside & real[..., None])
    # A cell far from every threshold still gets its object when nothing else does: nearness breaks ties.
    near = 1e-9 / (1 + (points[None, None] - centre[:, :, None]).norm(dim=-1))
    rank = torch.where(inside & real[..., None], fit + near, torch.zeros_like(fit))
    chosen = torch.zeros_like(inside)
    best = rank.topk(top, dim=-1)
    chosen.scatter_(2, best.indices, best.values > 0)
    claims = torch.where(chosen, overlap + 1e-6, torch.full_like(overlap, -1.0))
    strongest, owner = claims.max(1)
    taken = strongest > 0
    one = F.one_hot(owner, boxes.shape[1]).transpose(1, 2).bool() & taken[:, None]
    fit = fit * one
    top_fit = fit.amax(-1, keepdim=True)
    top_iou = (overlap * one).amax(-1, keepdim=True)
    soft = (fit / (top_fit + 1e-9) * top_iou).amax(1)
    leave = (inside & vague[..., None]).any(1) & ~taken
    return torch.where(taken, owner, -1), soft, leave


def loss_of(model, x, boxes, classes):
    with torch.autocast("cpu", torch.bfloat16, enabled=model.half):
        scores, corners = model.raw(x)
    owner, soft, leave = assign(scores, corners, model.points, boxes, classes)
    taken = owner >= 0
    n = torch.arange(len(x))[:, None].expand_as(owner)
    target = torch.zeros_like(scores)
    target[n[taken], taken.nonzero()[:, 1], classes[n[taken], owner[taken]]] = soft[taken]
    total = soft[taken].sum().clamp(min=1.0)
    # Easy background weighs less (focal), what was left out not at all.
    bce = F.binary_cross_entropy_with_logits(scores, target, reduction="none")
    weight = torch.where(target > 0, torch.ones_like(target), scores.detach().sigmoid().pow(model.focus))
    score_loss = (bce * weight * ~leave[..., None]).sum() / total
    box_loss = ((1 - iou(corners[taken], boxes[n[taken], owner[taken]], complete=True)) * soft[taken]).sum() / total
    return score_loss, box_loss


def export(model, path):
    model = copy.deepcopy(model).eval()
    torch.onnx.export(
        model,
        torch.zeros(1, 3, HEIGHT, WIDTH),
        path,
        input_names=["images"],
        output_names=["output0"],
        dynamic_axes={"images": {0: "batch"}, "output0": {0: "batch"}},
        opset_version=17,
        dynamo=False,
    )
    graph = onnx.load(path)
    # The exporter loses the two fixed sizes of the output; a reader finds the layout by them.
    sizes = graph.graph.output[0].type.tensor_type.shape.dim
    sizes[1].dim_value, sizes[2].dim_value = 4 + len(LABELS), len(model.points)
    names = "{" + ", ".join(f"{i}: '{label}'" for i, label in enumerate(LABELS)) + "}"
    notes = {"names": names, "stride": str(max(STRIDES)), "imgsz": f"[{HEIGHT}, {WIDTH}]", "task": "detect"}
    for key, value in notes.items():
        entry = graph.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.checker.check_model(graph)
    onnx.save(graph, path)


@torch.no_grad()
def resume(model, path, x):
    """Takes the weights of an exported model, whose batch norms are folded into its convolutions.

    Each batch norm is given the statistics of its own input on the batch `x`, and the scale and shift that undo them,
    so that the network computes what the exported one does and can be trained on.
    """
    graph = onnx.load(path).graph
    values = {t.name: torch.from_numpy(onnx.numpy_helper.to_array(t).copy()) for t in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            values[node.output[0]] = torch.from_numpy(onnx.numpy_helper.to_array(node.attribute[0].t).copy())
        elif node.op_type == "Identity" and node.input[0] in values:
            values[node.output[0]] = values[node.input[0]]
    nodes = [n for n in graph.node if n.op_type == "Conv"]
    made = {name for n in nodes for name in n.output}
    scales = [n for n in graph.node if n.op_type == "Mul" and n.input[0] in made and n.input[1] in values]
    for i, n in enumerate(scales):
        model.scale[i] = values[n.input[1]].reshape(())
    visited, order = set(), iter(nodes)
    # Of the convolution just passed: what the export added, and its weights there over those taken here.
    shift = ratio = None

    def on_conv(conv, _):
        nonlocal shift, ratio
        weight, shift = (values[name] for name in next(order).input[1:3])
        if conv not in visited:
            visited.add(conv)
            conv.weight.copy_(weight)
            if conv.bias is not None:
                conv.bias.copy_(shift)
        own = conv.weight.flatten(1)
        ratio = (weight.flatten(1) * own).sum(1) / (own * own).sum(1).clamp(min=1e-12)

    def on_norm(norm, inputs):
        mean, var = inputs[0].mean((0, 2, 3)), inputs[0].var((0, 2, 3), unbiased=False)
        norm.weight.copy_(ratio * (var + norm.eps).sqrt())
        norm.bias.copy_(ratio * mean + shift)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(var)

    hooks = [m.register_forward_pre_hook(on_conv) for m in model.modules() if isinstance(m, torch.nn.Conv2d)]
    hooks += [m.register_forward_pre_hook(on_norm) for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    model.eval()(x)
    for hook in hooks:
        hook.remove()


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--data", required=True)
    args.add_argument("--steps", type=int, default=1600)
    args.add_argument("--batch", type=int, default=24)
    args.add_argument("--rate", type=float, default=3e-3)
    args.add_argument("--minutes", type=float, default=math.inf, help="end by then, the schedule shortened to fit")
    args.add_argument("--seed", type=int, default=1)
    args.add_argument("--threads", type=int, default=1)
    args.add_argument("--bf16", action="store_true", help="train in bfloat16 (faster where the CPU has it)")
    args.add_argument("--resume", help="start from this exported model instead of from nothing")
    args.add_argument("--zoom", type=float, default=1.5, help="largest change of size")
    args.add_argument("--focus", type=float, default=1.5, help="how little easy background weighs (0 = as much as all)")
    args.add_argument("--flat", type=float, default=0.08, help="share of every batch with nothing in the picture")
    args.add_argument("--out", default="models/street.onnx")
    args = args.parse_args()
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(1)
    torch.manual_seed(args.seed)
    model = Detector()
    model.half = args.bf16
    model = model.to(memory_format=torch.channels_last)
    print(f"{sum(p.numel() for p in model.parameters())} parameters", flush=True)
    model.focus = args.focus
    pictures = Pictures(args.data, args.seed, args.zoom)
    if args.resume:
        resume(model, args.resume, pad([pictures[0, i] for i in range(128)])[0])
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": 0.02}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=args.rate)
    warm = max(1, args.steps // 20)
    course = lambda s, done: min(1, (s + 1) / warm) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1, done))))
    average = copy.deepcopy(model)
    order = np.random.default_rng(args.seed)
    empty = round(args.flat * args.batch)
    queue, began, means = [], time.time(), np.zeros(2)
    model.train()
    for step in range(args.steps):
        done = max(step / args.steps, (time.time() - began) / 60 / args.minutes)
        if done >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = args.rate * course(step, done)
        if len(queue) < args.batch - empty:
            queue.extend(order.permutation(len(pictures)).tolist())
        picks, queue = queue[: args.batch - empty], queue[args.batch - empty :]
        nothing = [flat(np.random.default_rng((args.seed, step, len(pictures) + i))) for i in range(empty)]
        x, boxes, classes = pad([pictures[step, i] for i in picks] + nothing)
        score_loss, box_loss = loss_of(model, x.contiguous(memory_format=torch.channels_last), boxes, classes)
        optimizer.zero_grad(set_to_none=True)
        (score_loss + 2.0 * box_loss).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        keep = min(0.995, (1 + step) / (10 + step))
        with torch.no_grad():
            now = model.state_dict()
            for key, value in average.state_dict().items():
                if value.dtype.is_floating_point:
                    value.lerp_(now[key], 1 - keep)
        means = means * 0.95 + 0.05 * np.array([score_loss.item(), box_loss.item()])
        if step % 25 == 0:
            spent = time.time() - began
            print(f"step {step:5d}  score {means[0]:.3f}  box {means[1]:.3f}  {spent:.0f} s", flush=True)
        if step % 200 == 199:
            export(average, args.out)
    export(average, args.out)


if __name__ == "__main__":
    main()
