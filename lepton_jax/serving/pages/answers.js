// An answer as a person reads it, by its kind.

import { make, say, show } from "./dom.js";

const COLOURS = ["#52c3ca", "#ef926b", "#e2be53", "#85b6f1", "#a65a95", "#7a8aea"];

const percent = (share) => `${(100 * share).toFixed(share > 0.9995 || share < 0.0005 ? 2 : 1)} %`;

// Shows what `/models/NAME/answer` returns; `picture` is the image that was asked about.
export async function showAnswer(reply, picture, decoding) {
  const { answer } = reply;
  const kinds = { class: showClass, image: showImage, text: showText, numbers: showNumbers };
  if (answer.kind === "objects") await showObjects(answer.objects, picture, decoding);
  else kinds[answer.kind](answer);
  say(`Version ${reply.version}.${reply.exact ? " Exact: whoever else asks changes no byte." : ""}`);
}

export function showClass({ label, probability, others }) {
  const rows = [{ label, probability }, ...others].map((one) => {
    const bar = make("i");
    bar.style.width = `${100 * one.probability}%`;
    return make("li", {},
      make("span", { class: "name" }, one.label),
      make("span", { class: "bar", "aria-hidden": "true" }, bar),
      make("span", { class: "number" }, percent(one.probability)));
  });
  show(
    make("p", { class: "label-said", id: "label" }, label),
    make("p", { class: "sure" }, `${percent(probability)} sure`),
    make("ul", { class: "others", "aria-label": "The likeliest answers" }, ...rows),
  );
}

function showText({ text }) {
  show(make("p", { class: "written", id: "text" }, text));
}

function showNumbers({ outputs }) {
  show(make("pre", { class: "numbers" }, JSON.stringify(outputs, null, 1)));
}

function showImage({ image }) {
  const source = `data:image/png;base64,${image}`;
  show(make("img", { class: "picture small", id: "made", src: source, alt: "The image that the model made" }));
}

async function showObjects(objects, picture, decoding) {
  const bitmap = await createImageBitmap(picture);
  const part = seenPart(bitmap.width, bitmap.height, decoding ?? []);
  const canvas = make("canvas", {
    class: "picture", id: "boxes", width: Math.round(part[2]), height: Math.round(part[3]), role: "img",
  });
  const list = make("ul", { class: "objects" });
  const least = make("input", { id: "least", type: "range", min: 0, max: 100, value: 30 });
  const label = make("label", { for: "least" });
  function draw() {
    const shown = objects.filter((one) => 100 * one.score >= least.value);
    label.textContent = `${shown.length} of ${objects.length}: those of ${least.value} % or more`;
    canvas.setAttribute("aria-label", `The image with ${shown.length} boxes, which are listed below`);
    canvas.getContext("2d").drawImage(bitmap, ...part, 0, 0, canvas.width, canvas.height);
    drawBoxes(canvas, shown);
    list.replaceChildren(...shown.map((one) => {
      const mark = make("i", { "aria-hidden": "true" });
      mark.style.background = one.colour;
      return make("li", {}, mark, make("span", {}, one.label), make("span", {}, percent(one.score)));
    }));
  }
  const labels = [...new Set(objects.map((one) => one.label))];
  for (const one of objects) one.colour = COLOURS[labels.indexOf(one.label) % COLOURS.length];
  least.addEventListener("input", draw);
  draw();
  show(canvas, make("div", { class: "row" }, label, least), list);
}

function drawBoxes(canvas, objects) {
  const brush = canvas.getContext("2d");
  brush.lineWidth = Math.max(2, canvas.width / 220);
  for (const { box: [top, left, bottom, right], colour } of objects) {
    brush.strokeStyle = colour;
    brush.strokeRect(left * canvas.width, top * canvas.height,
      (right - left) * canvas.width, (bottom - top) * canvas.height);
  }
}

// Returns the part of an image that is left when the model's decoding has cut it: x, y, w, h.
function seenPart(width, height, steps) {
  let part = [0, 0, width, height];
  let size = [width, height];
  for (const [name, said] of steps) {
    if (name === "resize") size = [said.width, said.height];
    if (name === "resize_shorter") size = size.map((n) => (n * said.size) / Math.min(...size));
    if (name === "center_crop") {
      const kept = [said.width / size[0], said.height / size[1]];
      const [w, h] = [part[2] * kept[0], part[3] * kept[1]];
      part = [part[0] + (part[2] - w) / 2, part[1] + (part[3] - h) / 2, w, h];
      size = [said.width, said.height];
    }
  }
  return part;
}
