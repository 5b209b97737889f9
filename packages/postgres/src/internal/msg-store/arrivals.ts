/**
 * Wake-ups on PostgreSQL: one hub for all readers of a layer.
 *
 * The hub listens to the one channel of the installation, from the first reader on, and tells the readers of a queue that
 * is notified. NOTIFY is not stored anywhere and may be switched off, so the hub also looks: in one call for all readers
 * that wait, now and then while it listens, sooner while it does not, and at once when notifications may have been missed.
 * What it tells is a hint, because the reader looks for itself; so it may tell too often, and does not have to be exact.
 */
import { PgTypes } from "@effect/sql-pg"
import type { PgListener } from "@restante/pg-session"
import type { Scope } from "effect"
import { Array as Arr, Clock, Context, Duration, Effect, Latch, Option, Random, Schedule, Schema } from "effect"
import type { SqlError } from "effect/sql/SqlError"
import { createHash } from "node:crypto"
import type { MsgStoreDriver } from "restante"
import { MsgStoreError } from "restante"
import * as Bytes from "../database/bytes.ts"
import type { Database, RoutineFailure } from "../database/routine.ts"
import { single } from "./failure.ts"

export interface Options {
  /** Whether to notify of what this layer writes, and to listen. */
  readonly notify: boolean
  /** How often to look while notifications arrive, at the latest. */
  readonly pollInterval: Duration.Duration
  /** Run when the first reader comes. None: the hub only looks. */
  readonly listener: Effect.Effect<
    Option.Option<PgListener.PgListener["Service"]>,
    PgListener.ListenerError,
    Scope.Scope
  >
}

export interface Arrivals extends Pick<MsgStoreDriver.MsgStoreDriver, "watch"> {
  /** For the functions that make a queue hold something. */
  readonly notify: boolean
}

interface Reader {
  readonly recipientId: Uint8Array
  /** There while the reader waits. */
  waiting: { readonly from: bigint; readonly wake: () => void } | undefined
  /** Something was told while it did not wait. */
  told: boolean
}

/** What a notification has in place of an id: see `_notify_arrivals`. */
const hashOf = (recipientId: Uint8Array): string => createHash("sha256").update(recipientId).digest("hex").slice(0, 16)

/** The layer of the store was closed, so nobody would wake a reader who waits. */
const layerClosed = MsgStoreError.fromCause(
  "arrivals",
  new MsgStoreError.Unavailable(),
  new Error("the layer of the store was closed")
)

/** How many queues one call looks at. */
const pageSize = 1_000

/** When to try again after the listener has given up, or the server has refused to listen. */
const relisten = Schedule.exponential("1 second").pipe(
  Schedule.modifyDelay(({ duration }) => Effect.succeed(Duration.min(duration, Duration.seconds(30)))),
  Schedule.jittered
)

const why = (error: PgListener.ListenerError | RoutineFailure | SqlError): string => {
  switch (error._tag) {
    case "ListenerError":
      return error.message
    case "RoutineFailure":
      return error.reason.message
    case "SqlError":
      return "the server refuses to listen"
  }
}

/** The hub. It ends with the scope, which wakes everybody who waits. */
export const make = Effect.fnUntraced(function*(
  database: Database,
  { listener, notify, pollInterval }: Options
): Effect.fn.Return<Arrivals, never, Scope.Scope> {
  const channelOf = database.routine("arrivals_channel", {
    kind: "read",
    parameters: [],
    row: Schema.Struct({ arrivals_channel: Schema.String })
  })
  const arrivalsOf = database.routine("arrivals_of", {
    kind: "read",
    parameters: ["bytea[]", "bigint[]"],
    row: Schema.Struct({ ordinal: Schema.Int, outcome: Schema.Literals(["arrived", "quiet", "not_found"]) })
  })

  const outer = yield* Effect.context()
  const readers = new Map<string, Set<Reader>>()
  const waiting = new Set<Reader>()
  /** Open from the first reader on. */
  const used = Latch.makeUnsafe(false)
  /** Open while somebody waits; closed by the poller only. */
  const wanted = Latch.makeUnsafe(false)
  /** Open when the next look cannot wait; closed by the poller only. */
  const urgent = Latch.makeUnsafe(false)
  let listening: PgListener.PgListener["Service"] | undefined
  let closed = false

  const tell = (reader: Reader) => {
    const wait = reader.waiting
    if (wait === undefined) reader.told = true
    else {
      reader.waiting = undefined
      waiting.delete(reader)
      wait.wake()
    }
  }

  // Trap: who is told runs at once, inside the call, and may come back as a new reader: so go through copies.
  const tellAll = () => {
    for (const reader of Array.from(readers.values(), (set) => [...set]).flat()) tell(reader)
  }

  const hear = (event: PgListener.Event) => {
    if (event._tag === "Notification") {
      if (event.payload === "*") return tellAll()
      for (const hash of event.payload.split(" ")) {
        for (const reader of Array.from(readers.get(hash) ?? [])) tell(reader)
      }
      return
    }
    // Who does not wait looks before the next wait, and who does is looked after at once, all in one call.
    for (const set of readers.values()) {
      for (const reader of set) reader.told ||= reader.waiting === undefined
    }
    urgent.openUnsafe()
  }

  const listen = Effect.gen(function*() {
    const found = yield* listener
    if (Option.isNone(found)) return undefined
    const { arrivals_channel } = yield* single(channelOf())
    const subscription = yield* found.value.subscribe(arrivals_channel)
    listening = found.value
    return yield* Effect.forever(Effect.map(subscription.take, hear))
  }).pipe(
    Effect.ensuring(Effect.sync(() => {
      listening = undefined
    })),
    Effect.scoped,
    Effect.tapError((error) => Effect.logWarning(`MsgStore: readers are not notified for now: ${why(error)}`)),
    Effect.retry(relisten)
  )

  const look = Effect.suspend(() =>
    Effect.forEach(Arr.chunksOf(waiting, pageSize), (page) =>
      Effect.map(
        arrivalsOf(
          Bytes.array(page.map((reader) => reader.recipientId), PgTypes.OID.bytea),
          Bytes.array(page.map((reader) => reader.waiting?.from ?? 0n), PgTypes.OID.int8)
        ),
        (rows) => {
          for (const { ordinal, outcome } of rows) {
            const reader = page[ordinal - 1]
            if (reader !== undefined && outcome !== "quiet") tell(reader)
          }
        }
      ), { discard: true })
  )

  const interval = Duration.toMillis(pollInterval)
  const soonest = interval / 10
  /** Milliseconds after which to see whether the connection is still there, and no timer is too long. */
  const step = Math.min(soonest, 60_000)

  /** Looks whenever it is time to, as long as somebody waits. */
  const poll = Effect.gen(function*() {
    let last = yield* Clock.currentTimeMillis
    // Without notifications, or when looking has failed: soon, in case that something was missed, and then less often.
    let patience = soonest
    let answered = true
    // Processes that were started together, or have lost the same server, are not to look together.
    let jitter = 1
    while (true) {
      if (waiting.size === 0) {
        wanted.closeUnsafe()
        yield* wanted.await
        last = yield* Clock.currentTimeMillis
        patience = soonest
      }
      const connected = listening !== undefined && (yield* listening.state)._tag === "Connected"
      if (connected && answered) patience = soonest
      const due = last + (connected && answered ? interval : patience) * jitter
      const left = due - (yield* Clock.currentTimeMillis)
      if (left > 0 && !urgent.isOpen()) {
        // In steps, because a connection that was lost is not told.
        yield* Effect.timeoutOption(urgent.await, Math.min(left, step))
        continue
      }
      urgent.closeUnsafe()
      last = yield* Clock.currentTimeMillis
      patience = Math.min(patience * 2, interval)
      jitter = 0.8 + 0.2 * (yield* Random.next)
      // The server is away, perhaps. Readers who look for themselves learn that; those who wait go on waiting.
      // Trap: a pool that is closed under us interrupts its callers, which is no reason for this fiber to end.
      answered = yield* Effect.catchCause(
        Effect.as(look, true),
        () => Effect.as(Effect.logDebug("MsgStore: looking for arrivals has failed and is repeated"), false)
      )
    }
  })

  // In real time, like the limits of calls: a test may move its own clock, and the server does not know.
  // And in nobody's transaction: the layer may be built in one.
  const apart = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
    Effect.setContext(
      effect,
      Context.add(database.outside(outer), Clock.Clock, Clock.Clock.defaultValue())
    )
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      closed = true
      tellAll()
    })
  )
  if (notify) yield* Effect.forkScoped(apart(Effect.andThen(used.await, listen)))
  yield* Effect.forkScoped(apart(poll))

  const wait = (reader: Reader) => (from: bigint): Effect.Effect<void, MsgStoreError.MsgStoreError> =>
    // Trap: looked at in the registration, not before it, where a fiber may yield and miss what is told meanwhile.
    Effect.callback((resume) => {
      if (closed) return resume(Effect.fail(layerClosed))
      if (reader.told) {
        reader.told = false
        return resume(Effect.void)
      }
      reader.waiting = { from, wake: () => resume(Effect.void) }
      waiting.add(reader)
      wanted.openUnsafe()
      return Effect.sync(() => {
        reader.waiting = undefined
        waiting.delete(reader)
      })
    })

  return {
    notify,
    watch: (id) =>
      Effect.map(
        Effect.acquireRelease(
          Effect.sync(() => {
            const recipientId = Bytes.ofId(id)
            const hash = hashOf(recipientId)
            const reader: Reader = { recipientId, waiting: undefined, told: false }
            const same = readers.get(hash) ?? new Set()
            readers.set(hash, same.add(reader))
            used.openUnsafe()
            return { reader, hash, same }
          }),
          ({ hash, reader, same }) =>
            Effect.sync(() => {
              same.delete(reader)
              if (same.size === 0) readers.delete(hash)
            })
        ),
        ({ reader }) => wait(reader)
      )
  }
})
