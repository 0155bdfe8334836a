// A pad to draw on, by pointer or by keys, and the drawing as the model wants it.

import { make } from "./dom.js";

const SIDE = 280;
const STEP = SIDE / 20;
const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

// `cells`: pixels of a side as the model sees it; the fewer, the thicker the pen.
export function makePad(cells, onDrawn) {
  const canvas = make("canvas", {
    id: "pad", width: SIDE, height: SIDE, tabindex: 0, role: "application",
    "aria-label": "Drawing pad. Draw with a pointer; or move with the arrow keys, and put the pen "
      + "down or up with the space bar.",
  });
  const pen = make("div", { class: "pen" });
  const brush = canvas.getContext("2d", { willReadFrequently: true });
  let at = [SIDE / 2, SIDE / 2];
  let down = false;

  function clear() {
    brush.fillStyle = "#000";
    brush.fillRect(0, 0, SIDE, SIDE);
    brush.strokeStyle = "#fff";
    brush.lineWidth = SIDE * Math.max(1 / 13, 1.3 / cells);
    brush.lineCap = brush.lineJoin = "round";
    down = false;
    place(SIDE / 2, SIDE / 2);
  }

  function place(x, y) {
    at = [x, y];
    pen.style.left = `${(100 * x) / SIDE}%`;
    pen.style.top = `${(100 * y) / SIDE}%`;
    pen.classList.toggle("down", down);
  }

  function move(x, y) {
    if (down) {
      brush.beginPath();
      brush.moveTo(...at);
      brush.lineTo(x, y);
      brush.stroke();
    }
    place(x, y);
  }

  const where = (event) => {
    const box = canvas.getBoundingClientRect();
    const scale = SIDE / box.width;
    return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    place(...where(event));
    down = true;
    move(at[0] + 0.01, at[1]);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (event.buttons) event.getCoalescedEvents().concat(event).forEach((e) => move(...where(e)));
  });
  canvas.addEventListener("pointerup", () => {
    down = false;
    place(...at);
    onDrawn();
  });
  canvas.addEventListener("keydown", (event) => {
    if (event.key === " ") {
      down = !down;
      move(at[0] + 0.01, at[1]);
      if (!down) onDrawn();
    } else if (KEYS[event.key]) {
      const [x, y] = KEYS[event.key].map((d, i) => Math.min(SIDE, Math.max(0, at[i] + d * STEP)));
      move(x, y);
    } else return;
    event.preventDefault();
  });
  clear();
  return { element: make("div", { class: "pad" }, canvas, pen), canvas, clear };
}

// Returns the drawing as a PNG of height x width: its ink fills the frame but for a margin, as in
// the sets of digits. Each pixel is the mean of what it covers.
export async function drawingAsPng(canvas, height, width) {
  const pixels = canvas.getContext("2d").getImageData(0, 0, SIDE, SIDE).data;
  const [left, top, right, bottom] = inkBox(pixels);
  if (right < left) throw new Error("Nothing is drawn yet.");
  const margin = Math.min(height, width) < 16 ? 0 : Math.min(height, width) / 7;
  const scale = Math.min((width - 2 * margin) / (right - left + 1), (height - 2 * margin) / (bottom - top + 1));
  const small = make("canvas", { width, height });
  const context = small.getContext("2d");
  const image = context.createImageData(width, height);
  const middle = [(left + right + 1) / 2, (top + bottom + 1) / 2];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const from = [middle[0] + (x - width / 2) / scale, middle[1] + (y - height / 2) / scale];
      const value = meanOf(pixels, ...from, from[0] + 1 / scale, from[1] + 1 / scale);
      image.data.set([value, value, value, 255], 4 * (y * width + x));
    }
  }
  context.putImageData(image, 0, 0);
  return new Promise((done) => small.toBlob(done, "image/png"));
}

function inkBox(pixels) {
  let [left, top, right, bottom] = [SIDE, SIDE, -1, -1];
  for (let y = 0; y < SIDE; y++) {
    for (let x = 0; x < SIDE; x++) {
      if (pixels[4 * (y * SIDE + x)] > 32) {
        [left, top] = [Math.min(left, x), Math.min(top, y)];
        [right, bottom] = [Math.max(right, x), Math.max(bottom, y)];
      }
    }
  }
  return [left, top, right, bottom];
}

function meanOf(pixels, left, top, right, bottom) {
  let [sum, count] = [0, 0];
  for (let y = Math.floor(top); y < Math.max(bottom, Math.floor(top) + 1); y++) {
    for (let x = Math.floor(left); x < Math.max(right, Math.floor(left) + 1); x++) {
      if (x >= 0 && y >= 0 && x < SIDE && y < SIDE) sum += pixels[4 * (y * SIDE + x)];
      count++;
    }
  }
  return Math.round(sum / count);
}
