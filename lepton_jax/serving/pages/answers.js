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
  const [x, y, width, height] = seenPart(bitmap.width, bitmap.height, decoding ?? []);
  const canvas = make("canvas", {
    class: "picture", id: "boxes", width: Math.round(width), height: Math.round(height), role: "img",
    "aria-label": `The image with ${objects.length} boxes; they are listed below`,
  });
  const brush = canvas.getContext("2d");
  brush.drawImage(bitmap, x, y, width, height, 0, 0, canvas.width, canvas.height);
  const labels = [...new Set(objects.map((one) => one.label))];
  const colour = (one) => COLOURS[labels.indexOf(one.label) % COLOURS.length];
  brush.lineWidth = Math.max(2, canvas.width / 220);
  for (const one of objects) {
    const [top, left, bottom, right] = one.box;
    brush.strokeStyle = colour(one);
    brush.strokeRect(left * canvas.width, top * canvas.height,
      (right - left) * canvas.width, (bottom - top) * canvas.height);
  }
  const rows = objects.map((one) => {
    const mark = make("i", { "aria-hidden": "true" });
    mark.style.background = colour(one);
    return make("li", {}, mark, make("span", {}, one.label), make("span", {}, percent(one.score)));
  });
  const none = make("p", { class: "sure" }, "The model finds nothing in this image.");
  show(canvas, rows.length ? make("ul", { class: "objects" }, ...rows) : none);
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
