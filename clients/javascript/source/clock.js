// Time, in one place, so that tests never wait for it.

export const systemClock = {
  /** Milliseconds since 1970. */
  now: () => Date.now(),

  /** Calls back once so many milliseconds have passed; what it returns cancels that. */
  after(milliseconds, callback) {
    const timer = setTimeout(callback, milliseconds);
    return () => clearTimeout(timer);
  },
};

/** Resolves after so many milliseconds. Rejects with the signal's reason as soon as it aborts. */
export async function wait(clock, milliseconds, signal) {
  signal?.throwIfAborted();
  let cancel;
  let stop;
  try {
    await new Promise((resolve, reject) => {
      stop = () => reject(signal.reason);
      signal?.addEventListener("abort", stop);
      cancel = clock.after(milliseconds, resolve);
    });
  } finally {
    cancel();
    signal?.removeEventListener("abort", stop);
  }
}
