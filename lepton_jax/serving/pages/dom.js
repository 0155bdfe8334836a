// Elements and requests. Nothing that a model or a person says becomes HTML: texts are text nodes.

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

export const find = (id) => document.getElementById(id);

export function say(text, wrong = false) {
  if (text) find("answer").hidden = false;
  find("status").textContent = text;
  find("status").classList.toggle("wrong", wrong);
}

export function show(...children) {
  find("answer").hidden = false;
  find("said").replaceChildren(...children);
}

let token = "";

// Asks the server; a token that it wants is asked of the person, and kept by this page alone.
export async function ask(path, options = {}) {
  for (;;) {
    const headers = { ...options.headers, ...(token && { Authorization: `Bearer ${token}` }) };
    const response = await fetch(path, { ...options, headers });
    if (response.status === 401) token = await askForToken();
    else if (response.ok) return response;
    else throw new Error(await reason(response));
  }
}

async function reason(response) {
  try {
    const { error } = await response.json();
    return error.message ?? error;
  } catch {
    return `the server answers with status ${response.status}`;
  }
}

function askForToken() {
  const form = find("token");
  form.hidden = false;
  find("bearer").focus();
  return new Promise((done) => {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      form.hidden = true;
      done(find("bearer").value);
    }, { once: true });
  });
}

// Runs what a button asks for: one at a time, and what goes wrong is said.
export async function during(button, work) {
  button.disabled = true;
  say("");
  try {
    await work();
  } catch (error) {
    if (error.name !== "AbortError") say(error.message, true);
  } finally {
    button.disabled = false;
  }
}
