// A text that goes on, token by token, as server-sent events.

import { ask, during, find, make, say, show } from "./dom.js";

const number = (id, label, value, attributes) =>
  make("div", {}, make("label", { for: id }, label), make("input", { id, type: "number", value, ...attributes }));

export function buildTextForm(model) {
  const prompt = make("textarea", { id: "prompt", required: true, spellcheck: "false" });
  const start = make("button", { class: "strong", type: "submit" }, "Write");
  const stop = make("button", { type: "button", disabled: true }, "Stop");
  let writing = null;
  stop.addEventListener("click", () => writing?.abort());
  const form = make("form", {},
    make("label", { for: "prompt" }, "The beginning of a text"), prompt,
    make("div", { class: "fields" },
      number("tokens", "Tokens", 200, { min: 1, max: 4096 }),
      number("temperature", "Temperature", 0.8, { min: 0, max: 2, step: 0.1 }),
      number("top_p", "Top p", 1, { min: 0, max: 1, step: 0.05 }),
      number("seed", "Seed", "", { min: 0, placeholder: "any" })),
    make("div", { class: "row" }, start, stop));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    writing = new AbortController();
    stop.disabled = false;
    during(start, () => write(model, prompt.value, writing.signal)).finally(() => {
      stop.disabled = true;
      find("text")?.setAttribute("aria-busy", "false");
    });
  });
  return form;
}

async function write(model, prompt, signal) {
  const value = (id) => (find(id).value === "" ? null : Number(find(id).value));
  const asked = {
    model, prompt, stream: true, stream_options: { include_usage: true }, max_tokens: value("tokens"),
    temperature: value("temperature"), top_p: value("top_p"), seed: value("seed"),
  };
  const written = make("span");
  show(make("p", { class: "written", id: "text", "aria-busy": "true" },
    make("span", { class: "prompt" }, prompt), written));
  say("Writing …");
  const response = await ask("/v1/completions", {
    method: "POST", body: JSON.stringify(asked), headers: { "Content-Type": "application/json" }, signal,
  });
  let seed = 0;
  let tokens = 0;
  const start = performance.now();
  try {
    for await (const chunk of events(response.body)) {
      if (chunk.error) throw new Error(chunk.error.message);
      for (const choice of chunk.choices) written.append(choice.text);
      tokens = chunk.usage?.completion_tokens ?? tokens;
      seed = chunk.seed;
    }
  } catch (error) {
    if (error.name === "AbortError") say(`Stopped. Seed ${seed}.`);
    throw error;
  }
  const seconds = (performance.now() - start) / 1000;
  say(`${tokens} tokens, ${Math.round(tokens / seconds)} a second. Seed ${seed} writes this text again.`);
}

// Yields the JSON of each event until '[DONE]'.
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      if (part === "data: [DONE]") return;
      if (part.startsWith("data: ")) yield JSON.parse(part.slice(6));
    }
  }
}
