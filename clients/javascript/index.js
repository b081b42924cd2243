// What this package gives; all else in it may change.

export { Commerce } from "./source/commerce.js";
export { CommerceError } from "./source/errors.js";
