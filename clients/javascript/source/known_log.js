// What answers have told about the log.
//
// Invariant: a position is kept only together with the epoch that it belongs to. After a restore
// the log has another epoch, and positions from before mean nothing.

const POSITION = /^\d{1,16}$/;

export class KnownLog {
  /** The highest at which this client wrote; 0 = nothing yet, or nothing since a restore. */
  position = 0;
  #epoch = null;

  /** Takes what an answer's headers say; only answers to writes carry a position of their own. */
  note(headers) {
    const epoch = headers.get("Log-Epoch");
    if (epoch !== null && epoch !== this.#epoch) {
      this.#epoch = epoch;
      this.position = 0;
    }
    this.position = Math.max(this.position, positionOf(headers, "Log-Position") ?? 0);
  }
}

/** The position in a header; null where there is none. */
export function positionOf(headers, name) {
  const text = headers.get(name) ?? "";
  return POSITION.test(text) ? Number(text) : null;
}
