/**
 * The loops that drive a package: workers that repeat an operation, and pools of handlers where a package has no other way of
 * taking messages.
 */
import type { Run } from "../src/Subject.ts"
import type { Ledger, Message } from "./Ledger.ts"

/** `run.concurrency` workers. An operation says how many messages it completed; a worker ends at the first that had none. */
export const repeat = async (run: Run, operation: (worker: number) => Promise<number>): Promise<void> => {
  const work = async (worker: number): Promise<void> => {
    while (!run.isOver()) {
      const began = run.due === undefined ? performance.now() : await run.due()
      if (began === undefined) return
      const messages = await operation(worker)
      if (messages === 0) return
      run.done(messages, began)
    }
  }
  await Promise.all(Array.from({ length: run.concurrency }, (_, worker) => work(worker)))
}

/** What a pool of handlers calls. */
interface Handlers {
  /** The handler has been given this message. */
  readonly begin: (message: Message) => void
  /** The package has said that the message with this number is complete. */
  readonly complete: (number: number) => void
  readonly fail: (error: unknown) => void
}

/** Starts so many handlers. The answer stops them, waits until what they have begun is complete and gives the rest back. */
export type Start = (concurrency: number, handlers: Handlers) => Promise<() => Promise<void>>

/** One operation: a message sent, handled and complete. No more handlers than workers, since more would find nothing to do. */
export const cycle = async (
  run: Run,
  ledger: Ledger,
  send: (message: Message) => Promise<unknown>,
  start: Start,
  handlers: number
): Promise<void> => {
  const waiting = new Map<number, () => void>()
  const broken = Promise.withResolvers<never>()
  const stop = await start(Math.min(handlers, run.concurrency), {
    begin: ledger.take,
    complete: (number) => {
      waiting.get(number)?.()
      waiting.delete(number)
    },
    fail: broken.reject
  })
  const operation = async (): Promise<number> => {
    const message = ledger.next()
    const completed = new Promise<void>((resolve) => waiting.set(message.number, resolve))
    await send(message)
    await completed
    return 1
  }
  try {
    await Promise.race([repeat(run, operation), broken.promise])
  } finally {
    await stop()
  }
}

/** One operation: a stored message handled and complete. It begins when its handler does, since nobody sees it taken. */
export const take = async (run: Run, ledger: Ledger, start: Start, handlers: number): Promise<void> => {
  let left = ledger.left()
  if (left === 0) return
  const began = new Map<number, number>()
  const over = Promise.withResolvers<void>()
  const stop = await start(handlers, {
    begin: (message) => {
      ledger.take(message)
      began.set(message.number, performance.now())
    },
    complete: (number) => {
      run.done(1, began.get(number) ?? performance.now())
      began.delete(number)
      left -= 1
      if (left === 0 || run.isOver()) over.resolve()
    },
    fail: over.reject
  })
  try {
    await over.promise
  } finally {
    await stop()
  }
}
