/**
 * A transaction that somebody has left open keeps every row that was removed or updated since: nothing can be vacuumed. Calls
 * must not walk what is left, however long a queue has been in use (rule 10.6).
 */
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { PgMsgStore } from "@restante/postgres"
import { Array as Arr, Effect } from "effect"
import { MessageId, MsgStore, RecipientId } from "restante"
import { hold } from "./fixtures/postgres/activity.ts"
import { buffersOf, literal } from "./fixtures/postgres/buffers.ts"
import * as PostgresDatabase from "./PostgresDatabase.ts"

const url = await PostgresDatabase.open()

const body = new Uint8Array(20)

describe("with an old transaction open, after 200,000 messages of one queue have been written and acknowledged", () => {
  it.live(
    "looking at the queue and locking it touches hardly more pages than in an empty table (case 83)",
    () =>
      Effect.gen(function*() {
        const store = yield* MsgStore.MsgStore
        const owner = yield* PgClient.PgClient
        const { recipientId } = yield* store.createQueue({ quota: 1_000 })
        const queue = literal(RecipientId.toBytes(recipientId))
        const look = buffersOf(owner, {
          peek: `peek(${queue})`,
          peekBatch: `peek_batch(${queue}, 10, 0, 1000000)`,
          size: `size(${queue})`,
          getQueue: `get_queue(${queue})`,
          expiryOfNothing: `delete_expired(${queue}, 0)`,
          acknowledgeOfNothing: `acknowledge(${queue}, '\\x01', true)`
        })
        const before = yield* look
        const old = yield* hold(
          owner,
          Effect.andThen(
            owner`set transaction isolation level repeatable read`,
            owner`select count(*) from restante.queues`
          )
        )

        // One by one it is the record of the queue that leaves a version for each call, 8,000 of them.
        let sequence = 0n
        for (const i of Arr.range(1, 4_000)) {
          const id = MessageId.named(`message ${i}`)
          yield* store.write({ recipientId }, { id, body })
          yield* store.acknowledge(recipientId, id)
        }
        sequence += 4_000n
        // In batches it is the messages that are left.
        for (const _ of Arr.range(1, 196)) {
          yield* store.writeMany(Arr.makeBy(1_000, () => ({ target: { recipientId }, message: { body } })))
          sequence += 1_000n
          assert.strictEqual(yield* store.acknowledgeThrough(recipientId, { sequence }), 1_000)
        }

        const after = yield* look
        for (const [call, buffers] of Object.entries(after)) {
          assert.isAtMost(buffers, (before[call] ?? 0) + 8, call)
        }
        const [left] = yield* owner<{ readonly pages: number }>`
        select (pg_relation_size('restante.queues') / 8192)::int4 as pages`
        // It was as bad as it is meant to be.
        assert.isAbove(left?.pages ?? 0, 120)
        yield* old.release
      }).pipe(
        Effect.scoped,
        Effect.provide([PgMsgStore.layer({ url, poolSize: 1 }), PostgresDatabase.ownerLayer(url)])
      ),
    180_000
  )
})

PostgresDatabase.itIsSound(url)
