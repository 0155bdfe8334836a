// The page of a model: what it takes decides the form, its kind of answer what is shown.

import { showAnswer, showClass } from "./answers.js";
import { ask, during, find, make, show, say } from "./dom.js";
import { drawingAsPng, makePad } from "./drawing.js";
import { buildTextForm } from "./texts.js";

const name = decodeURIComponent(location.pathname.split("/")[2] ?? "");
const answerPath = `/models/${encodeURIComponent(name)}/answer`;

async function begin() {
  if (!name) return listModels();
  const model = await (await ask(`/v2/models/${encodeURIComponent(name)}`)).json();
  const { takes, version } = model.parameters;
  document.title = `Try ${name}`;
  find("title").textContent = name;
  find("version").textContent = `· version ${version}`;
  const builders = {
    image: buildImageForm, text: buildTextBox, texts: buildTextBox, prompt: () => buildTextForm(name),
    seed: buildSeedForm, arrays: buildArraysForm,
  };
  find("input").append(...[builders[takes](model)].flat());
  find("input").hidden = false;
  document.querySelector(".columns").classList.toggle("texts", takes === "prompt");
}

async function listModels() {
  const { models } = await (await ask("/v2")).json();
  if (models.length === 1) return location.replace(`/try/${encodeURIComponent(models[0])}`);
  find("title").textContent = "Models";
  find("models").hidden = false;
  find("models").append(...models.map((model) =>
    make("li", {}, make("a", { href: `/try/${encodeURIComponent(model)}` }, model))));
}

async function answer(body, type, model, picture) {
  const response = await ask(answerPath, { method: "POST", body, headers: { "Content-Type": type } });
  await showAnswer(await response.json(), picture, model.parameters.decoding);
}

function buildImageForm(model) {
  const [, height, width, channels] = model.inputs[0].shape;
  const shown = make("img", { class: "picture", hidden: true, alt: "The image that you chose" });
  const file = make("input", { type: "file", id: "file", accept: "image/*" });
  const drop = make("div", { class: "drop" },
    make("label", { for: "file" }, "Choose an image, or drop one here"), file, shown);
  async function send(chosen) {
    if (!chosen) return;
    URL.revokeObjectURL(shown.src);
    shown.src = URL.createObjectURL(chosen);
    shown.hidden = model.parameters.answer === "objects";
    await during(file, () => answer(chosen, chosen.type || "application/octet-stream", model, chosen));
  }
  file.addEventListener("change", () => send(file.files[0]));
  drop.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    send(event.dataTransfer.files[0]);
  });
  if (channels !== 1) return [drop];
  const clear = make("button", { type: "button" }, "Clear");
  const again = make("button", { type: "button", class: "strong" }, "Answer");
  const sendDrawing = () => during(again, async () => {
    const png = await drawingAsPng(pad.canvas, height, width);
    await answer(png, "image/png", model, png);
  });
  const pad = makePad(Math.min(height, width), sendDrawing);
  again.addEventListener("click", sendDrawing);
  clear.addEventListener("click", () => { pad.clear(); find("said").replaceChildren(); say(""); });
  return [
    pad.element, make("p", { class: "hint" }, "Draw here: with a pointer, or with the arrow keys and the space bar."),
    make("div", { class: "row" }, again, clear), drop,
  ];
}

function buildTextBox(model) {
  const pair = model.parameters.takes === "texts";
  const boxes = (pair ? ["The first text", "The second text"] : ["A text"]).map((label, i) =>
    [make("label", { for: `text-${i}` }, label), make("textarea", { id: `text-${i}`, required: true })]);
  const button = make("button", { class: "strong" }, "Answer");
  const form = make("form", {}, ...boxes.flat(), make("div", { class: "row" }, button));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const texts = boxes.map(([, box]) => box.value);
    const body = JSON.stringify({ text: pair ? texts : texts[0] });
    during(button, () => answer(body, "application/json", model));
  });
  return form;
}

function buildSeedForm(model) {
  const seed = make("input", { type: "number", id: "seed", min: 0, max: 2 ** 32 - 1, value: 0, required: true });
  const button = make("button", { class: "strong" }, "Make an image");
  const another = make("button", { type: "button" }, "Another");
  const form = make("form", {}, make("label", { for: "seed" }, "Seed: the same makes the same image"), seed,
    make("div", { class: "row" }, button, another));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    during(button, () => answer(JSON.stringify({ seed: Number(seed.value) }), "application/json", model));
  });
  another.addEventListener("click", () => {
    seed.value = crypto.getRandomValues(new Uint32Array(1))[0];
    form.requestSubmit();
  });
  return form;
}

// Inputs that no person types by heart: numbers, one row of each input.
function buildArraysForm(model) {
  const boxes = model.inputs.map(({ name: input, datatype, shape }) => ({
    input, datatype, shape: [1, ...shape.slice(1)],
    box: make("textarea", { id: `input-${input}`, required: true, spellcheck: "false" }),
  }));
  const fields = boxes.flatMap(({ input, shape, box }) => [
    make("label", { for: box.id }, `${input}: ${shape.reduce((a, b) => a * b)} numbers`), box]);
  const button = make("button", { class: "strong" }, "Answer");
  const form = make("form", {}, ...fields, make("div", { class: "row" }, button));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const inputs = boxes.map(({ input, datatype, shape, box }) => (
      { name: input, datatype, shape, data: box.value.split(/[\s,;[\]]+/).filter(Boolean).map(Number) }));
    during(button, () => infer(inputs, model.parameters.labels));
  });
  return form;
}

async function infer(inputs, labels) {
  const response = await ask(`/v2/models/${encodeURIComponent(name)}/infer`, {
    method: "POST", body: JSON.stringify({ inputs }), headers: { "Content-Type": "application/json" },
  });
  const { outputs } = await response.json();
  const probabilities = outputs.find((one) => one.name === "probabilities" && one.shape.length === 2);
  if (!probabilities) {
    return show(make("pre", { class: "numbers" }, JSON.stringify(outputs, null, 1)));
  }
  const [first, ...others] = probabilities.data
    .map((probability, i) => ({ label: labels[i] ?? String(i), probability }))
    .sort((a, b) => b.probability - a.probability);
  showClass({ ...first, others: others.slice(0, 5) });
}

begin().catch((error) => say(error.message, true));
