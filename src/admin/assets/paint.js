// Paints a frame: the picture, zones, boxes, and labels that keep off each other.
const ZONE = "#ffd60a";
// Below this width of the picture, in CSS pixels, labels are smaller.
const SMALL = 360;

// A stable colour for each class.
function color(label) {
  let hash = 0;
  for (const c of label) hash = (hash * 31 + c.codePointAt(0)) | 0;
  // Steps of the golden angle separate neighbouring hues.
  return `hsl(${(((hash * 137.508) % 360) + 360) % 360} 90% 70%)`;
}

// The overlap of two rectangles in pixels.
function overlap(a, b) {
  const width = Math.min(a.x + a.w, b.x + b.w) - Math.max(a.x, b.x);
  const height = Math.min(a.y + a.h, b.y + b.h) - Math.max(a.y, b.y);
  return Math.max(0, width) * Math.max(0, height);
}

// A position for a label next to its box: inside the picture, and off the other labels if possible.
function place(w, h, named, width, height, placed) {
  const [left, right] = [named.x, named.x + named.w - w];
  const [above, below] = [named.y - h, named.y + named.h];
  const places = [[left, above], [right, above], [left, below], [right, below], [left, named.y], [left, below - h]];
  for (let n = 1; n < 5; n++) places.push([left, above - n * h], [left, below + n * h]);
  let best = null;
  let least = Infinity;
  for (const [px, py] of places) {
    const rect = { x: Math.max(0, Math.min(px, width - w)), y: Math.max(0, Math.min(py, height - h)), w, h };
    const covered = placed.reduce((all, other) => all + overlap(rect, other), 0);
    if (covered < least) [best, least] = [rect, covered];
    if (covered === 0) break;
  }
  return best;
}

function drawLabel(g, text, named, ground, unit, width, height, placed) {
  const rect = place(g.measureText(text).width + 8 * unit, 16 * unit, named, width, height, placed);
  placed.push(rect);
  g.fillStyle = ground;
  g.fillRect(rect.x, rect.y, rect.w, rect.h);
  g.fillStyle = "#000";
  g.fillText(text, rect.x + 4 * unit, rect.y + rect.h / 2);
}

function drawZones(g, zones, unit, width, height, placed) {
  for (const zone of zones) {
    const corners = zone.points.map(([x, y]) => [x * width, y * height]);
    g.beginPath();
    for (const [x, y] of corners) g.lineTo(x, y);
    g.closePath();
    g.fillStyle = "rgb(255 214 10 / 8%)";
    g.fill();
    g.strokeStyle = ZONE;
    g.stroke();
    const [x, y] = corners.reduce((top, corner) => (corner[1] < top[1] ? corner : top));
    drawLabel(g, zone.name, { x, y: y + 16 * unit, w: 0, h: 0 }, ZONE, unit, width, height, placed);
  }
}

// In screen pixels, so that lines and text have the same size on any display. Without a JPEG the ground stays clear: a
// video is below.
export async function paint(canvas, zones, meta, jpeg) {
  const bitmap = jpeg?.length ? await createImageBitmap(new Blob([jpeg], { type: "image/jpeg" })) : null;
  canvas.classList.add("seen");
  canvas.style.setProperty("--ratio", meta.width / meta.height);
  const shown = canvas.clientWidth || 640;
  const pixels = Math.min(window.devicePixelRatio || 1, 2);
  const width = Math.max(2, Math.round(shown * pixels));
  const height = Math.max(2, Math.round((width * meta.height) / meta.width));
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  const g = canvas.getContext("2d");
  if (jpeg) {
    g.fillStyle = "#0b0d10";
    g.fillRect(0, 0, width, height);
  } else g.clearRect(0, 0, width, height);
  if (bitmap) {
    g.drawImage(bitmap, 0, 0, width, height);
    bitmap.close();
  }
  const unit = shown < SMALL ? pixels * 0.8 : pixels;
  g.font = `${12 * unit}px system-ui, sans-serif`;
  g.textBaseline = "middle";
  g.lineWidth = 2 * unit;
  const placed = [];
  drawZones(g, zones, unit, width, height, placed);
  const boxes = meta.detections.map((d) => {
    const box = { x: d.bbox.x * width, y: d.bbox.y * height, w: d.bbox.width * width, h: d.bbox.height * height };
    g.strokeStyle = color(d.label);
    g.strokeRect(box.x, box.y, box.w, box.h);
    return [d, box];
  });
  // After all boxes, so that no line crosses a text.
  for (const [d, box] of boxes) {
    const id = d.track_id === undefined ? "" : ` #${d.track_id}`;
    const text = `${d.label}${id} ${Math.round(d.confidence * 100)}%`;
    drawLabel(g, text, box, color(d.label), unit, width, height, placed);
  }
}
