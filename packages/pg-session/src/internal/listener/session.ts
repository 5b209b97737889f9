/**
 * One connection of a listener, from connecting until it is lost. It is pinned: nobody else uses it, and commands are sent
 * one after the other by one fiber, the supervisor's.
 */
import { Clock, Data, Deferred, type Duration, Effect, Exit, Fiber, Queue, Scope } from "effect"
import { ConnectionError, PgConnection, SqlError } from "../driver.ts"

/** The connection is of no use any more. */
export class Lost extends Data.TaggedError("Lost")<{ readonly error: SqlError }> {}

type Deliver = (notifications: ReadonlyArray<PgConnection.Notification>) => Effect.Effect<void>

export interface Session {
  readonly pid: number
  readonly listensTo: (channel: string) => boolean
  /** Returns after the server's confirmation. `SqlError`: the server refused, and the connection is good. */
  readonly listen: (channel: string, deliver: Deliver) => Effect.Effect<void, SqlError | Lost>
  readonly unlisten: (channel: string) => Effect.Effect<void, Lost>
  /** Fails when the server has not answered for the time given. */
  readonly probe: Effect.Effect<void, Lost>
  /** When the server was last heard of, in milliseconds of the Clock. */
  readonly heardAt: () => number
  /** Fails as soon as the loss is known: at once if there is a channel, else at the next command. */
  readonly lost: Effect.Effect<never, Lost>
}

const silent = new SqlError({
  reason: new ConnectionError({
    cause: new Error("No answer"),
    message: "PgListener: The server has not answered in time",
    operation: "query"
  })
})

/** Closes the connection with the scope, without waiting for the server. */
export const open = Effect.fnUntraced(function*(
  config: PgConnection.Config,
  answerTimeout: Duration.Duration
): Effect.fn.Return<Session, SqlError, Scope.Scope> {
  const clock = yield* Clock.Clock
  const scope = yield* Effect.scope
  // Channels would fill the cache of prepared statements, and are sent rarely.
  const connection = yield* PgConnection.make({ ...config, multiplex: false, prepare: false })
  // Trap: the order of these two. A pin that is released while a channel is open or a command is under way destroys the
  // socket. That is how a connection to a silent server ends at once; the commands then fail by themselves, and closing
  // the channels sends nothing. The other way round each would wait for the server.
  const work = yield* Scope.fork(scope)
  const pinned = yield* connection.pin

  const lost = yield* Deferred.make<never, Lost>()
  const listening = new Map<string, Scope.Closeable>()
  let heardAt = clock.currentTimeMillisUnsafe()
  const hear = () => {
    heardAt = clock.currentTimeMillisUnsafe()
  }

  /**
   * Trap: the command runs in a fiber of its own, because the driver takes up to 5 s to give up an interrupted statement
   * of a silent server. Here nobody waits for that: the session ends, and the command with it.
   */
  const command = <A>(statement: Effect.Effect<A, SqlError>): Effect.Effect<A, SqlError | Lost> =>
    Effect.flatMap(
      Effect.forkIn(statement, work, { startImmediately: true }),
      (fiber) =>
        Effect.timeoutOrElse(Fiber.join(fiber), {
          duration: answerTimeout,
          orElse: () => Effect.fail(new Lost({ error: silent }))
        })
    ).pipe(Effect.tap(Effect.sync(hear)))

  const probe = command(pinned.query("SELECT 1")).pipe(
    Effect.catchTag("SqlError", (error) => Effect.fail(new Lost({ error }))),
    Effect.asVoid
  )

  const drain = (queue: Queue.Dequeue<PgConnection.Notification, SqlError>, deliver: Deliver) =>
    Queue.takeAll(queue).pipe(
      Effect.tap(Effect.sync(hear)),
      Effect.flatMap(deliver),
      Effect.forever,
      Effect.catchTag("SqlError", (error) => Deferred.fail(lost, new Lost({ error })))
    )

  const listen: Session["listen"] = Effect.fnUntraced(function*(channel, deliver) {
    const channelScope = yield* Scope.fork(work)
    const queue = yield* command(Scope.provide(pinned.listen(channel), channelScope)).pipe(
      // The server says no, or the connection has ended with words of its own: only a living one answers again.
      Effect.catchTag("SqlError", (error) =>
        Scope.close(channelScope, Exit.void).pipe(
          Effect.andThen(probe),
          Effect.andThen(Effect.fail(error))
        ))
    )
    listening.set(channel, channelScope)
    yield* Effect.forkIn(drain(queue, deliver), channelScope)
  })

  const unlisten: Session["unlisten"] = Effect.fnUntraced(function*(channel) {
    const channelScope = listening.get(channel)
    if (channelScope === undefined) return
    listening.delete(channel)
    yield* Effect.catchTag(
      command(Scope.close(channelScope, Exit.void)),
      "SqlError",
      (error) => Effect.fail(new Lost({ error }))
    )
  })

  return {
    pid: connection.processId,
    listensTo: (channel) => listening.has(channel),
    listen,
    unlisten,
    probe,
    heardAt: () => heardAt,
    lost: Deferred.await(lost)
  }
})
