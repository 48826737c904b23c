"use strict";
// Addresses are relative, so the page also works below a path of a proxy. Text is only ever set as text.
const at = (id) => document.getElementById(id);
const PREDICT = "api/predict";

async function describe() {
  const answer = await fetch("openapi.json");
  const api = await answer.json();
  const body = api.paths["/api/predict"].post.requestBody.content["application/json"];
  at("name").textContent = api.info.title;
  at("version").textContent = "version " + api.info.version;
  document.title = api.info.title;
  if (!body.example) return setTimeout(describe, 1000); // still loading
  const rows = body.schema.properties?.inputs;
  at("shape").textContent = rows
    ? `a list of up to ${rows.maxItems} rows, each ${shape(rows.items)}`
    : body.schema.description;
  if (!at("inputs").value) at("inputs").value = pretty(body.example.inputs);
  at("predict").disabled = false;
  showCurl();
}

function shape(item) {
  if (item.prefixItems) {
    const kinds = { string: "text", number: "a number", "string,null": "text or null", "number,null": "a number or null" };
    const columns = item.prefixItems.map(({ title, type }) => `${title} (${kinds[type]})`);
    return `a list of ${columns.join(", ")}`;
  }
  if (item.type !== "array") return item.type === "integer" ? "a whole number" : "a number";
  const sizes = [];
  for (; item.type === "array"; item = item.items) sizes.push(item.minItems);
  const kind = item.type === "integer" ? "whole number" : "number";
  return `a list of ${sizes.join(" × ")} ${kind}${sizes.length === 1 && sizes[0] === 1 ? "" : "s"}`;
}

// A row a line, or a column or tensor.
function pretty(values) {
  if (Array.isArray(values)) return "[" + values.map((row) => JSON.stringify(row)).join(",\n ") + "]";
  if (values === null || typeof values !== "object") return JSON.stringify(values);
  const lines = Object.entries(values).map(([name, value]) => `${JSON.stringify(name)}: ${JSON.stringify(value)}`);
  return "{" + lines.join(",\n ") + "}";
}

function showCurl() {
  const body = `{"inputs": ${at("inputs").value.trim()}}`.replace(/\s*\n\s*/g, " ").replaceAll("'", "'\\''");
  const url = new URL(PREDICT, document.baseURI);
  at("curl").textContent = `curl -s ${url} -H 'Content-Type: application/json' -d '${body}'`;
}

function refuse(message) {
  at("outputs").textContent = "";
  at("took").textContent = "";
  at("problem").textContent = message;
  at("problem").hidden = false;
}

async function predict(event) {
  event.preventDefault();
  if (at("predict").disabled) return;
  at("predict").disabled = true;
  try {
    const started = performance.now();
    // Sent as it was typed: the server says what is wrong with it better than JavaScript's parser does.
    const body = `{"inputs": ${at("inputs").value.trim() || "[]"}}`;
    const answer = await fetch(PREDICT, { method: "POST", headers: { "Content-Type": "application/json" }, body });
    const took = performance.now() - started;
    const content = await answer.json();
    if (!answer.ok) return refuse(content.error?.message ?? `the server answered ${answer.status}`);
    at("problem").hidden = true;
    at("outputs").textContent = pretty(content.outputs);
    at("took").textContent = `${took.toFixed(1)} ms`;
  } catch (error) {
    refuse(`the server can't be reached: ${error.message}`);
  } finally {
    at("predict").disabled = false;
  }
}

at("form").addEventListener("submit", predict);
at("inputs").addEventListener("input", showCurl);
at("inputs").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) predict(event);
});
describe().catch((error) => refuse(`the model's description can't be read: ${error.message}`));
