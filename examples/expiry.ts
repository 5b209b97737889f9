/**
 * `node examples/expiry.ts`: the job that removes old messages and forgets queues that were deleted long ago, as it would run
 * beside a server. Run it in as many processes as you like: they skip what another one has in hand.
 *
 * A server forks `job` and forgets it. Here one second of it is enough: its first run does everything.
 */
import { Clock, Console, Duration, Effect, Schedule } from "effect"
import { Message, MsgStore } from "restante"

const keepMessages = Duration.days(21)
const keepDeletedQueues = Duration.days(30)

const tidyUp = Effect.gen(function*() {
  const store = yield* MsgStore.MsgStore
  const now = yield* Clock.currentTimeMillis
  const ago = (duration: Duration.Duration) => Math.max(0, now - Duration.toMillis(duration))
  const counts = yield* store.expireAll({
    before: ago(keepMessages),
    batchSize: 100,
    onProgress: ({ expired, visited }) => Console.log(`  ${visited} queues so far, ${expired} messages`)
  })
  const forgotten = yield* store.compactDeleted({ before: ago(keepDeletedQueues) })
  yield* Console.log(
    `expired ${counts.expired} messages of ${counts.visited} queues; ` +
      `${counts.skipped} were busy, ${counts.failed} failed; forgot ${forgotten} deleted queues`
  )
})

/** An outage is reported and waited out: the next run does what this one has left. */
const job = tidyUp.pipe(
  Effect.catchTag("MsgStoreError", (error) => Console.log(`not today: ${error.message}`)),
  Effect.repeat(Schedule.spaced("1 day"))
)

const program = Effect.gen(function*() {
  const store = yield* MsgStore.MsgStore
  const now = yield* Clock.currentTimeMillis
  for (let days = 0; days < 250; days++) {
    const { recipientId, senderId } = yield* store.createQueue()
    const timestamp = now - days * 86_400_000
    yield* store.write({ senderId }, Message.fromText("Back on Monday.", { timestamp }))
    yield* store.write({ senderId }, Message.fromText("On Tuesday.", { timestamp }))
    if (days === 249) yield* store.deleteQueue(recipientId)
  }
  const before = yield* store.stats
  yield* Console.log(`${before.messages} messages in ${before.queues} queues, ${before.tombstones} deleted queue`)
  yield* Effect.timeoutOption(job, "1 second")
  const after = yield* store.stats
  yield* Console.log(`${after.messages} messages left; the deleted queue is kept for 30 days: ${after.tombstones}`)
})

await Effect.runPromise(Effect.provide(program, MsgStore.layerMemory()))
