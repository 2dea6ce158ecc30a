/* docs.js: renders the API's description.  All text is put in as text.
 * SPDX-License-Identifier: MIT */
"use strict";

function make(tag, text, ...children) {
	const node = document.createElement(tag);

	node.textContent = text ?? "";
	node.append(...children);
	return node;
}

/* A schema in one line: "{title: string (1..120), price: integer}". */
function brief(schema) {
	const kinds = schema.anyOf ?? schema.oneOf;

	if ("const" in schema)
		return JSON.stringify(schema.const);
	if (schema.$ref)
		return schema.$ref.split("/").pop();
	if (kinds)
		return kinds.map(brief).join(" or ");
	if (schema.enum)
		return schema.enum.map(value => JSON.stringify(value)).join(" | ");
	if (schema.type === "array")
		return `[${brief(schema.items)}, …]`;
	if (schema.type === "object") {
		const required = schema.required ?? [];

		return "{" + Object.entries(schema.properties).map(([name, of]) =>
			`${name}${required.includes(name) ? "" : "?"}: ${brief(of)}`)
			.join(", ") + "}";
	}
	const least = schema.minimum ?? schema.minLength;
	const most = schema.maximum ?? schema.maxLength;
	const range = most === undefined ? "" : ` (${least}..${most})`;

	return (schema.format === "date-time" ? "time"
		: schema.pattern === "^[0-9a-f]{24}$" ? "id"
		: schema.type ?? "any") + range;
}

function content(of) {
	return Object.entries(of.content ?? {}).map(([type, media]) =>
		Object.keys(media.schema).length ? brief(media.schema) : type)
		.join(" or ");
}

function row(head, text, code) {
	const cell = make("th", head);

	cell.scope = "row";
	return make("tr", "", cell, make("td", text),
		make("td", "", make("code", code)));
}

/* Who may, when not everyone. */
function access(of) {
	const role = of.security && (Object.values(of.security[0])[0][0] ?? "signed in");

	return role ? [make("small", role)] : [];
}

function route(method, path, of) {
	const table = make("table");
	const summary = make("summary", "", make("b", method.toUpperCase()),
		make("code", path), make("span", of.summary), ...access(of));

	for (const p of of.parameters)
		table.append(row(p.name, `in the ${p.in}` +
			(p.required ? "" : ", may be left out"), brief(p.schema)));
	if (of.requestBody)
		table.append(row("body", Object.keys(of.requestBody.content).join(", ") +
			(of.requestBody.required ? "" : ", may be left out"), content(of.requestBody)));
	for (const [status, answer] of Object.entries(of.responses))
		table.append(row(status, answer.description, content(answer)));
	return make("details", "", summary, make("div", "", table));
}

async function show() {
	const answer = await fetch("../openapi.json");
	const about = document.getElementById("about");

	if (!answer.ok) {
		about.textContent = `openapi.json: ${answer.status}`;
		return;
	}
	const api = await answer.json();
	const sections = new Map();

	about.textContent = api.info.description;
	for (const [path, methods] of Object.entries(api.paths))
		for (const [method, of] of Object.entries(methods)) {
			const tag = of.tags[0];

			if (!sections.has(tag)) {
				const link = make("a", tag);
				const section = make("section", "", make("h2", tag));

				link.href = "#" + tag;
				section.id = tag;
				sections.set(tag, section);
				document.getElementById("tags").append(link);
				document.getElementById("routes").append(section);
			}
			sections.get(tag).append(route(method, path, of));
		}
	for (const [name, schema] of Object.entries(api.components.schemas))
		document.getElementById("schemas").append(row(name, "", brief(schema)));
}

show();
