/**
 * The database of a test file: a copy of the migrated template, dropped after the file.
 */
import { PgClient } from "@effect/sql-pg"
import { TestDatabase } from "@restante/embedded-postgres"
import { Effect, Exit, Layer, Redacted, Scope } from "effect"
import { afterAll, assert, inject, it } from "vitest"

/** A copy for as long as the scope is open. */
export const clone = Effect.suspend(() =>
  TestDatabase.clone({ server: Redacted.make(inject("serverUrl")), template: inject("template") })
)

/** Call it at the top of a test file. */
export const open = async (): Promise<Redacted.Redacted> => {
  const scope = Scope.makeUnsafe()
  afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))
  const { url } = await Effect.runPromise(Scope.provide(clone, scope))
  return url
}

/** A layer over a database of its own, which goes with it. */
export const layerEmpty = <A, E>(layer: (url: Redacted.Redacted) => Layer.Layer<A, E>) =>
  Layer.unwrap(Effect.map(clone, ({ url }) => layer(url)))

/** Queues whose record disagrees with their entries, seen at one instant; and entries that have outlived their queue. */
export const unsound = Effect.fnUntraced(function*(sql: PgClient.PgClient) {
  const drifted = yield* sql`
    select q.key, q.size, q.latched, q.head_sequence, q.next_sequence, m.*
      from restante.queues q
     cross join lateral (
       select count(*) as entries, min(sequence) as first, max(sequence) as last,
              coalesce((array_agg(kind order by sequence desc))[1] = 'q', false) as marked,
              count(*) filter (where kind = 'q') as markers
         from restante.messages where queue_key = q.key
     ) m
     where q.size <> m.entries or q.latched <> m.marked or m.markers > 1
        or q.head_sequence > coalesce(m.first, q.next_sequence) or q.next_sequence <= m.last
        or (q.deleted_at is not null and m.entries > 0)`
  const orphans = yield* sql`
    select queue_key from restante.messages where queue_key not in (select key from restante.queues)`
  return [...drifted, ...orphans]
})

/** After all that a file did: every queue's record agrees with its entries, and nothing outlived its queue (case 78). */
export const itIsSound = (url: Redacted.Redacted): void => {
  it("every record agrees with the entries of its queue", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const [counts] = yield* sql<{ readonly queues: number }>`select count(*)::int as queues from restante.queues`
      assert.isAbove(counts?.queues ?? 0, 0)
      assert.deepStrictEqual(yield* unsound(sql), [])
    }).pipe(Effect.provide(ownerLayer(url)), Effect.runPromise))
}

/** A client of the owner for looking behind the store's back. */
export const ownerLayer = (url: Redacted.Redacted) => PgClient.layer({ url, maxConnections: 4 })
