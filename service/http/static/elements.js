// Makes elements out of text, never out of markup.

/** An element with attributes and children; children that say nothing are left out. */
export function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child || child === 0));
  return made;
}

/** Text in which `code` stands between backticks. */
export function prose(text, name = "span") {
  const parts = text.split("`").map((part, index) =>
    (index % 2 ? element("code", {}, part) : part));
  return element(name, {}, ...parts);
}
