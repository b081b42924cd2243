// From values to the path and the query of a request.
//
// Invariant: whatever an id or a tag is, the path has the parts of its template, no more, no less.

/** `/user/{customerId}` with its parts put in. Throws TypeError for what cannot be one. */
export function pathOf(template, parts) {
  return template.replace(/\{(\w+)\}/g, (_, name) => encodedPart(name, parts[name]));
}

/**
 * `?a=1&b=2`, or nothing where nothing is given. An array repeats its name, a Date becomes a time
 * in UTC, `undefined` is left out. Throws TypeError for null: as a cursor it would mean the first
 * page.
 */
export function queryOf(parameters) {
  const query = new URLSearchParams();
  for (const [name, given] of Object.entries(parameters)) {
    for (const value of Array.isArray(given) ? given : [given]) {
      if (value === null) throw new TypeError(`${name} is null; leave it out instead.`);
      if (value !== undefined) query.append(name, textOf(value));
    }
  }
  const text = query.toString();
  return text && `?${text}`;
}

function encodedPart(name, value) {
  if (typeof value !== "string" || value === "") {
    throw new TypeError(`${name} must be text that is not empty.`);
  }
  // To every URL these mean "here" and "one up", percent-encoded too: it would be another route.
  if (value === "." || value === "..") {
    throw new TypeError(`${name} is of dots only, which no URL can hold.`);
  }
  return encodeURIComponent(value);
}

function textOf(value) {
  return value instanceof Date ? value.toISOString() : String(value);
}
