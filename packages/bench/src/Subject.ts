/**
 * What is measured: a floor, a store of ours or a package of somebody else, behind one interface, so that all of them are
 * driven by the same loops. Each subject runs in a Node process of its own.
 *
 * A module of a peer is `peers/<id>.ts` and exports its subject as `subject`.
 */

/** What the runner asks a subject to do. A subject offers those that it can. */
export type Work =
  /** One durable send per operation. */
  | "send"
  /** One batch of `Run.batch` messages per operation. */
  | "sendMany"
  /** One message sent, taken and settled per operation, each worker on queues of its own. */
  | "cycle"
  /** `Run.batch` stored messages taken and settled per operation; `prepare` has stored them. */
  | "take"
  /** A look at the head of a queue. */
  | "peek"

export interface Parameters {
  /** An empty database; the subject installs what it needs. */
  readonly url: string
  /** Connections for everything that is measured. */
  readonly pool: number
  readonly queues: number
  /** Bytes of each body, from `Payload.ts`, so that everybody stores the same. */
  readonly bodyBytes: number
  /** What tells this subject from its siblings: a number of lanes; of a peer `mode`, "default" or "fastest". */
  readonly options: Readonly<Record<string, string | number | boolean>>
}

export interface Run {
  readonly concurrency: number
  /** Messages per operation of `sendMany` and `take`. */
  readonly batch: number
  /** Asked before each operation of each worker. */
  readonly isOver: () => boolean
  /**
   * Present if operations are offered at a fixed rate: each worker, when `isOver` has said no, waits for its next operation to
   * be due. The answer is when that was, which counts as its beginning, or undefined if the run is over meanwhile.
   */
  readonly due?: (() => Promise<number | undefined>) | undefined
  /** Told after each operation: how many messages it completed, and when it began (`performance.now()`). */
  readonly done: (messages: number, began: number) => void
}

/** What was seen, once. `measure` says what of the cell it is: "rate", "p99". */
export interface Sample {
  readonly measure: string
  readonly unit: string
  readonly value: number
}

/** A measurement that is not a loop of one operation. */
export interface Special {
  /** Which one, such as "import". */
  readonly name: string
  /** About how long it may take. What has to do a fixed amount of work ignores it. */
  readonly seconds: number
  /** What is varied, such as the number of messages. */
  readonly params: Readonly<Record<string, string | number | boolean>>
}

export interface Session {
  /** Runs `concurrency` workers until `isOver`, and ends when the last has ended. Fibers for Effect, promises for others. */
  readonly run: (work: Work, run: Run) => Promise<void>
  /** Stores so many messages, spread evenly over the queues, in whatever way is fastest. */
  readonly prepare: (messages: number) => Promise<void>
  /** Removes all messages and leaves the queues. */
  readonly clear: () => Promise<void>
  /** Checks what the last run has left: nothing lost, nothing there twice. The text says what is wrong. */
  readonly check: () => Promise<string | undefined>
  readonly close: () => Promise<void>
  /** Of a subject that puts calls together: how many there were so far, in how many statements. */
  readonly batches?: (() => Promise<{ readonly calls: number; readonly statements: number }>) | undefined
  /** For scenarios that have no `Work`: wake-ups, imports. It rejects what it does not know. */
  readonly measure?: ((special: Special) => Promise<ReadonlyArray<Sample>>) | undefined
}

export interface Subject {
  readonly id: string
  readonly role: "floor" | "ours" | "peer"
  readonly works: ReadonlyArray<Work>
  /** Versions of what is measured, by package. */
  readonly versions: Readonly<Record<string, string>>
  readonly open: (parameters: Parameters) => Promise<Session>
}
