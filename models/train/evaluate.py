"""Measures the exported detector with onnxruntime.

    python models/train/evaluate.py pictures DATA/heldout [--threshold 0.4]      mAP, precision, recall per class
    python models/train/evaluate.py clip CLIP.mp4 GT.txt --scale 0.625           precision and recall for persons
    python models/train/evaluate.py flat                                         highest score where there is nothing
    python models/train/evaluate.py speed                                        pictures per second on one core

A detection is right when it overlaps an object of its class, not yet taken, with IoU 0.5 or more. What is too hidden
or too small to be asked for (see train.py) counts neither way.
"""

import argparse
import json
import time

import cv2
import numpy as np
import onnxruntime

from net import HEIGHT, LABELS, WIDTH
from train import countable, load

NMS = 0.5


def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def overlaps(box, boxes):
    w = (np.minimum(box[2], boxes[:, 2]) - np.maximum(box[0], boxes[:, 0])).clip(0)
    h = (np.minimum(box[3], boxes[:, 3]) - np.maximum(box[1], boxes[:, 1])).clip(0)
    area = lambda b: (b[..., 2] - b[..., 0]) * (b[..., 3] - b[..., 1])
    return w * h / np.maximum(area(box) + area(boxes) - w * h, 1e-7)


def detect(net, pictures, least):
    """Rows [class, score, x0, y0, x1, y1] per picture, best first."""
    x = np.ascontiguousarray(pictures.transpose(0, 3, 1, 2)).astype(np.float32) / 255
    out = net.run(None, {net.get_inputs()[0].name: x})[0]
    results = []
    for one in out:
        rows = []
        centre, size = one[:2].T, one[2:4].T
        corners = np.concatenate([centre - size / 2, centre + size / 2], 1)
        for c in range(len(LABELS)):
            scores = one[4 + c]
            order = [i for i in np.argsort(-scores) if scores[i] >= least][:300]
            while order:
                i, order = order[0], order[1:]
                rows.append([c, scores[i], *corners[i]])
                if order:
                    apart = overlaps(corners[i], corners[order]) <= NMS
                    order = [o for o, keep in zip(order, apart) if keep]
        results.append(np.array(sorted(rows, key=lambda r: -r[1]), np.float32).reshape(-1, 6))
    return results


def match(found, truth, asked, limit):
    """For each detection of one class, best first: 1 right, 0 wrong, -1 does not count."""
    taken, verdicts = np.zeros(len(truth), bool), []
    for row in found:
        values = overlaps(row[2:], truth) if len(truth) else np.zeros(0)
        free = np.where(taken | ~asked, -1, values) if len(truth) else values
        best = int(free.argmax()) if len(free) else -1
        if best >= 0 and free[best] >= limit:
            taken[best] = True
            verdicts.append(1)
        elif len(values) and (values[~asked] >= min(limit, 0.3)).any():
            verdicts.append(-1)
        else:
            verdicts.append(0)
    return verdicts


def average_precision(scores, right, total):
    if total == 0:
        return float("nan")
    order = np.argsort(-np.array(scores), kind="stable")
    right = np.array(right, float)[order]
    hits, count = right.cumsum(), np.arange(1, len(right) + 1)
    recall, precision = hits / total, hits / count
    best = np.maximum.accumulate(precision[::-1])[::-1]
    steps = np.searchsorted(recall, np.linspace(0, 1, 101))
    return float(np.mean([best[i] if i < len(best) else 0.0 for i in steps]))


def judge(found, labels, threshold):
    limits = np.arange(0.5, 0.96, 0.05)
    report = {}
    for c, label in enumerate(LABELS):
        scores, right, total = [[] for _ in limits], [[] for _ in limits], 0
        for rows, truth in zip(found, labels):
            of_class, own = truth[truth[:, 0] == c], rows[rows[:, 0] == c]
            asked = countable(of_class)
            total += int(asked.sum())
            for k, limit in enumerate(limits):
                for row, verdict in zip(own, match(own, of_class[:, 1:5], asked, limit)):
                    if verdict >= 0:
                        scores[k].append(row[1])
                        right[k].append(verdict)
        aps = [average_precision(s, r, total) for s, r in zip(scores, right)]
        kept = [r for s, r in zip(scores[0], right[0]) if s >= threshold]
        report[label] = {
            "objects": total,
            "ap50": round(aps[0], 3),
            "ap50_95": round(float(np.mean(aps)), 3),
            "precision": round(sum(kept) / max(1, len(kept)), 3),
            "recall": round(sum(kept) / max(1, total), 3),
            "found": len(kept),
            "right": int(sum(kept)),
        }
    present = [r for r in report.values() if r["objects"]]
    found_all, right_all, total_all = (sum(r[k] for r in present) for k in ("found", "right", "objects"))
    report["all"] = {
        "map50": round(float(np.mean([r["ap50"] for r in present])), 3),
        "map50_95": round(float(np.mean([r["ap50_95"] for r in present])), 3),
        "precision": round(right_all / max(1, found_all), 3),
        "recall": round(right_all / max(1, total_all), 3),
        "threshold": threshold,
    }
    return report


def on_pictures(net, folder, threshold):
    pictures, labels = load(folder)
    found = []
    for start in range(0, len(pictures), 16):
        found.extend(detect(net, np.asarray(pictures[start : start + 16]), 0.02))
    return judge(found, labels, threshold)


def on_clip(net, clip, truth_file, scale, threshold, every):
    truth = {}
    for line in open(truth_file):
        frame, _, x, y, w, h, flag = [float(v) for v in line.split(",")[:7]]
        truth.setdefault(int(frame), []).append([x * scale, y * scale, (x + w) * scale, (y + h) * scale])
    video, index = cv2.VideoCapture(clip), 0
    found_all = right_all = total = 0
    while True:
        ok, picture = video.read()
        if not ok:
            break
        if index % every == 0:
            h, w = picture.shape[:2]
            fit = min(WIDTH / w, HEIGHT / h)
            size = (round(w * fit), round(h * fit))
            left, top = (WIDTH - size[0]) // 2, (HEIGHT - size[1]) // 2
            box = np.full((HEIGHT, WIDTH, 3), 114, np.uint8)
            box[top : top + size[1], left : left + size[0]] = cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR)
            rows = detect(net, box[None, :, :, ::-1], threshold)[0]
            rows = rows[rows[:, 0] == 0]
            rows[:, [2, 4]] = (rows[:, [2, 4]] - left) / fit
            rows[:, [3, 5]] = (rows[:, [3, 5]] - top) / fit
            boxes = np.array(truth.get(index + 1, []), np.float32).reshape(-1, 4)
            verdicts = match(rows, boxes, np.ones(len(boxes), bool), 0.5)
            found_all, right_all, total = found_all + len(rows), right_all + sum(verdicts), total + len(boxes)
        index += 1
    return {
        "frames": index,
        "truth": total,
        "found": found_all,
        "precision": round(right_all / max(1, found_all), 3),
        "recall": round(right_all / max(1, total), 3),
        "threshold": threshold,
    }


def flat_pictures():
    """Group, name and pixels of letterboxed pictures of nothing: every shape in every colour, even and uneven."""
    rng = np.random.default_rng(7)
    shapes = [(5, 3), (16, 9), (21, 9), (3, 2), (4, 3), (1, 1), (3, 4), (9, 16)]
    greys = [(v, v, v) for v in (0, 4, 8, 16, 24, 32, 48, 64, 80, 96, 114, 128, 160, 200, 255)]
    colours = [(r, g, b) for r in (0, 64, 200) for g in (0, 64, 200) for b in (0, 64, 200) if not r == g == b]
    for across, down in shapes:
        h, w = min(HEIGHT, round(WIDTH * down / across)), min(WIDTH, round(HEIGHT * across / down))
        top, left = (HEIGHT - h) // 2, (WIDTH - w) // 2
        ys, xs = np.mgrid[-1 : 1 : h * 1j, -1 : 1 : w * 1j][..., None]
        for colour in greys + colours:
            group = "grey" if colour in greys else "dark colour" if max(colour) <= 64 else "bright colour"
            even = np.broadcast_to(np.array(colour, float), (h, w, 3))
            kinds = {
                "even": even,
                "noisy": even + rng.standard_normal((h, w, 3)) * 6,
                "gradient across": even + 25 * xs,
                "gradient down": even + 25 * ys,
                "vignette": even * (1 - 0.3 * (xs**2 + ys**2)),
            }
            for kind, x in kinds.items():
                picture = np.full((HEIGHT, WIDTH, 3), 114, np.uint8)
                picture[top : top + h, left : left + w] = x.clip(0, 255).round()
                yield group, f"{across}:{down} {colour} {kind}", picture


def on_flat(net, threshold):
    """The highest score of any class in any cell, and how many pictures reach the threshold: none should."""
    report = {}
    for group, name, picture in flat_pictures():
        x = np.ascontiguousarray(picture.transpose(2, 0, 1)[None]).astype(np.float32) / 255
        scores = net.run(None, {net.get_inputs()[0].name: x})[0][0, 4:]
        row = report.setdefault(group, {"pictures": 0, "found": 0, "max": 0.0})
        row["pictures"] += 1
        row["found"] += int(scores.max() >= threshold)
        if scores.max() > row["max"]:
            row.update(max=round(float(scores.max()), 3), label=LABELS[int(scores.max(1).argmax())], at=name)
    total = {k: sum(row[k] for row in report.values()) for k in ("pictures", "found")}
    report["all"] = {**total, "max": max(row["max"] for row in report.values()), "threshold": threshold}
    return report


def speed(net):
    x = np.random.default_rng(1).random((1, 3, HEIGHT, WIDTH), np.float32)
    name = net.get_inputs()[0].name
    for _ in range(10):
        net.run(None, {name: x})
    times = []
    for _ in range(100):
        began = time.perf_counter()
        net.run(None, {name: x})
        times.append(time.perf_counter() - began)
    return {"median_ms": round(1e3 * float(np.median(times)), 2), "per_second": round(1 / float(np.median(times)))}


def main():
    args = argparse.ArgumentParser()
    args.add_argument("what", choices=["pictures", "clip", "flat", "speed"])
    args.add_argument("paths", nargs="*")
    args.add_argument("--model", default="models/street.onnx")
    args.add_argument("--threshold", type=float, default=0.4)
    args.add_argument("--scale", type=float, default=1.0, help="truth coordinates are multiplied by this")
    args.add_argument("--every", type=int, default=5)
    args = args.parse_args()
    net = session(args.model)
    if args.what == "pictures":
        report = on_pictures(net, args.paths[0], args.threshold)
    elif args.what == "clip":
        report = on_clip(net, *args.paths[:2], args.scale, args.threshold, args.every)
    elif args.what == "flat":
        report = on_flat(net, args.threshold)
    else:
        report = speed(net)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
