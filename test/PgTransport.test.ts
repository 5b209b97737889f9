/**
 * The relay between the driver and the server: what passes, what is learnt on the way, and how it ends (spec 2.3 and 2.4,
 * cases 9 to 11).
 */
import { PgClient, PgConnection } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { PgCopy, PgTransport } from "@restante/pg-session"
import { Cause, Deferred, Effect, Exit, Fiber, Option, Schedule, Scope, Stream } from "effect"
import { Redacted } from "effect"
import * as Reactivity from "effect/reactivity/Reactivity"
import { connect, createServer, type Socket } from "node:net"
import { until, untilOneWaits, waitingFor } from "./fixtures/postgres/activity.ts"
import * as PostgresDatabase from "./PostgresDatabase.ts"

const url = await PostgresDatabase.open()

const pidOf = (sql: PgClient.PgClient) =>
  Effect.map(sql<{ readonly pid: number }>`select pg_backend_pid() as pid`, (rows) => rows[0]?.pid ?? 0)

const run = <A, E>(
  effect: Effect.Effect<A, E, PgClient.PgClient | PgTransport.PgTransport | Scope.Scope>,
  options: { readonly url?: Redacted.Redacted; readonly maxConnections?: number } = {}
) =>
  effect.pipe(
    Effect.scoped,
    Effect.provide(PgTransport.layer({ url, maxConnections: 2, ...options })),
    Effect.runPromise
  )

describe("session facts", () => {
  it("a session is listed with what it is, and gone when its pool is", () =>
    Effect.gen(function*() {
      const transport = yield* PgTransport.make({ url })
      assert.deepStrictEqual(yield* transport.sessions, [])
      const target = new URL(Redacted.value(url))
      yield* Effect.gen(function*() {
        const sql = yield* PgClient.makeClient({
          stream: transport.stream,
          username: target.username,
          database: target.pathname.slice(1)
        })
        const pid = yield* pidOf(sql)
        const [facts] = yield* transport.sessions
        assert.strictEqual(facts?.pid, pid)
        assert.deepStrictEqual(facts?.address, { host: "127.0.0.1", port: Number(target.port) })
        assert.match(facts?.serverVersion ?? "", /^1\d\.\d+/)
        assert.deepStrictEqual(facts?.tls, Option.none())
        assert.strictEqual(facts?.method, "scram-sha-256")
        assert.isFalse(facts?.bound)
        assert.notInclude(JSON.stringify(facts), "[")
      }).pipe(Effect.scoped, Effect.provide(Reactivity.layer))
      assert.deepStrictEqual(yield* transport.sessions, [])
    }).pipe(Effect.scoped, Effect.runPromise))

  it("the status follows the transaction, and while it has failed the first error is known", () =>
    run(Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const transport = yield* PgTransport.PgTransport
      const statusOf = (pid: number) => Effect.map(transport.status(pid), Option.getOrThrow)
      const pid = yield* Effect.scoped(Effect.gen(function*() {
        const connection = yield* sql.reserve
        const statement = (text: string) => connection.executeUnprepared(text, [], undefined)
        const [row] = yield* connection.executeUnprepared("select pg_backend_pid() as pid", [], undefined)
        const pid: number = row.pid
        assert.strictEqual((yield* statusOf(pid)).status, "idle")
        yield* statement("begin")
        assert.strictEqual((yield* statusOf(pid)).status, "transaction")
        yield* Effect.exit(statement("select 1 / 0"))
        yield* Effect.exit(statement("select no_such_column"))
        const failed = yield* statusOf(pid)
        assert.strictEqual(failed.status, "failed")
        assert.strictEqual(Option.getOrThrow(failed.firstError).code, "22012")
        yield* statement("rollback")
        const after = yield* statusOf(pid)
        assert.strictEqual(after.status, "idle")
        assert.isTrue(Option.isNone(after.firstError))
        return pid
      }))
      assert.isTrue(Option.isSome(yield* transport.status(pid)))
      assert.isTrue(Option.isNone(yield* transport.status(-1)))
    })))

  it("case 9: notices and a changed parameter are visible with the right pid", () =>
    run(Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const transport = yield* PgTransport.PgTransport
      yield* sql.withTransaction(Effect.gen(function*() {
        const pid = yield* pidOf(sql)
        yield* sql`set local application_name = 'renamed'`
        yield* sql.unsafe("do $$ begin raise notice 'hear this' using detail = 'all of it', errcode = '01R01'; end $$")
        const [notice] = yield* Stream.runCollect(Stream.take(transport.notices, 1))
        assert.strictEqual(notice?.pid, pid)
        assert.strictEqual(notice?.fields.message, "hear this")
        assert.strictEqual(notice?.fields.detail, "all of it")
        assert.strictEqual(notice?.fields.code, "01R01")
        const parameters = Option.getOrThrow(yield* transport.parameters(pid))
        assert.strictEqual(parameters.get("application_name"), "renamed")
        assert.strictEqual(parameters.get("client_encoding"), "UTF8")
      }))
    })))

  it("the last 256 notices are kept; a reader who comes later misses the others, and they are counted", () =>
    run(Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const transport = yield* PgTransport.PgTransport
      yield* sql.unsafe("do $$ begin for i in 1..100 loop raise notice 'early %', i; end loop; end $$")
      const reader = yield* Effect.forkScoped(
        Stream.runCollect(Stream.take(transport.notices, 101)),
        { startImmediately: true }
      )
      yield* sql.unsafe("do $$ begin for i in 1..1000 loop raise notice 'late %', i; end loop; end $$")
      const seen = yield* Fiber.join(reader)
      assert.strictEqual(seen[0]?.fields.message, "early 1")
      const late = yield* Stream.runCollect(Stream.take(transport.notices, 256))
      assert.strictEqual(late[0]?.fields.message, "late 745")
      assert.strictEqual(late[255]?.fields.message, "late 1000")
      // The first reader had the early ones and "late 1"; those from there to "late 744" nobody has read.
      assert.strictEqual(yield* transport.droppedNotices, 743)
    })))

  it("a session that is destroyed fails what it was doing, and the pool opens another", () =>
    run(Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const transport = yield* PgTransport.PgTransport
      const sleeping = yield* Effect.forkScoped(Effect.exit(sql`select pg_sleep(100)`))
      yield* untilOneWaits(sql, "PgSleep")
      const pid = (yield* waitingFor(sql, "PgSleep"))[0]?.pid ?? 0
      assert.isTrue(yield* transport.destroy(pid))
      assert.isFalse(yield* transport.destroy(pid))
      const exit = yield* Fiber.join(sleeping)
      const error = Exit.isFailure(exit) ? Option.getOrThrow(Cause.findErrorOption(exit.cause)) : assert.fail("it ran")
      assert.instanceOf(error.reason.cause, PgTransport.PgTransportError)
      assert.notStrictEqual(yield* pidOf(sql), pid)
      // A server that sleeps does not notice that nobody listens.
      yield* sql`select pg_terminate_backend(${pid})`
    })))

  it("a session that the server ends says why", () =>
    run(
      Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        const transport = yield* PgTransport.PgTransport
        const pid = yield* pidOf(sql)
        const owner = Effect.flatMap(PgClient.PgClient, (owner) => owner`select pg_terminate_backend(${pid})`)
        const sleeping = yield* Effect.forkScoped(Effect.exit(sql`select pg_sleep(100)`))
        yield* until(Effect.map(
          Effect.provide(
            Effect.flatMap(PgClient.PgClient, (owner) =>
              owner<{ readonly n: number }>`
                select count(*)::int4 as n from pg_stat_activity where wait_event = 'PgSleep' and pid = ${pid}`),
            PostgresDatabase.ownerLayer(url)
          ),
          (rows) => rows[0]?.n === 1
        ))
        yield* Effect.provide(owner, PostgresDatabase.ownerLayer(url))
        const exit = yield* Fiber.join(sleeping)
        const error = Exit.isFailure(exit)
          ? Option.getOrThrow(Cause.findErrorOption(exit.cause))
          : assert.fail("it ran")
        const cause = error.reason.cause
        if (!(cause instanceof PgTransport.PgTransportError)) return assert.fail(String(cause))
        assert.include(cause.message, "57P01")
        yield* until(Effect.map(transport.status(pid), Option.isNone))
      }),
      { maxConnections: 1 }
    ))
})

describe("a mark", () => {
  it("tells the command tag of the statement that begins with it, word for word", () =>
    run(Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const transport = yield* PgTransport.PgTransport
      const { comment, token } = yield* transport.mark
      assert.deepStrictEqual(yield* transport.tag(token), Option.none())
      yield* sql.unsafe(`${comment}create table tagged (n int)`).unprepared
      assert.deepStrictEqual(yield* transport.tag(token), Option.some("CREATE TABLE"))
      // Used up: the same mark means nothing now.
      yield* sql.unsafe(`${comment}drop table tagged`).unprepared
      assert.deepStrictEqual(yield* transport.tag(token), Option.some("CREATE TABLE"))
    })))
})

describe("what a client may ask for", () => {
  it("a password effect that dies is told as what it is", () =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(
        Effect.provide(
          Effect.flatMap(PgClient.PgClient, (sql) => sql`select 1`),
          PgTransport.layer({ host: "127.0.0.1", username: "u", password: Effect.die(new Error("no vault")) })
        )
      )
      const error = Exit.isFailure(exit) ? Option.getOrThrow(Cause.findErrorOption(exit.cause)) : assert.fail("it ran")
      const cause = error._tag === "SqlError" ? error.reason.cause : error
      assert.isTrue(cause instanceof PgTransport.PgTransportError && cause.reason._tag === "Misuse")
      assert.include(String(cause), "password effect")
    }).pipe(Effect.runPromise))

  it("a client that asks for TLS itself is told what to do", () =>
    Effect.gen(function*() {
      const transport = yield* PgTransport.make({ url })
      const error = yield* Effect.flip(Effect.scoped(
        PgConnection.make({ stream: transport.stream, ssl: true, username: "postgres" })
      ))
      const { cause } = error.reason
      assert.isTrue(cause instanceof PgTransport.PgTransportError && cause.reason._tag === "Misuse")
      assert.include(String(cause), "`tls` options")
    }).pipe(Effect.scoped, Effect.runPromise))

  it("the layer refuses the driver's own connection options and multiplexing", () =>
    Effect.gen(function*() {
      for (const extra of [{ ssl: true }, { stream: () => connect(1) }, { multiplex: true }]) {
        const untyped: object = { url, ...extra }
        const exit = yield* Effect.exit(Effect.scoped(Effect.provide(
          Effect.void,
          // What a caller without types could write.
          PgTransport.layer(untyped)
        )))
        const error = Exit.isFailure(exit)
          ? Option.getOrThrow(Cause.findErrorOption(exit.cause))
          : assert.fail("accepted")
        assert.isTrue(error instanceof PgTransport.PgTransportError && error.reason._tag === "ConfigError")
      }
    }).pipe(Effect.runPromise))

  it("a transport that is closed opens nothing more", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const transport = yield* Scope.provide(PgTransport.make({ url }), scope)
      yield* Scope.close(scope, Exit.void)
      const error = yield* Effect.flip(
        Effect.scoped(PgConnection.make({ stream: transport.stream, username: "postgres" }))
      )
      const { cause } = error.reason
      assert.isTrue(cause instanceof PgTransport.PgTransportError && cause.reason._tag === "Misuse")
    }).pipe(Effect.runPromise))

  it("everything that the plain driver does works unchanged", () =>
    run(Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      yield* sql`create table plain (n int primary key, body text)`
      yield* sql`insert into plain ${sql.insert([{ n: 1, body: "a" }, { n: 2, body: "b" }])}`
      const streamed = yield* Stream.runCollect(sql`select generate_series(1, 10000) as n`.stream)
      assert.strictEqual(streamed.length, 10_000)
      const error = yield* Effect.flip(sql`insert into plain values (1, 'again')`)
      assert.strictEqual(error.reason._tag, "UniqueViolation")
      const slow = yield* Effect.forkScoped(sql`select pg_sleep(100)`)
      yield* untilOneWaits(sql, "PgSleep")
      yield* Fiber.interrupt(slow)
      yield* Effect.scoped(Effect.gen(function*() {
        const queue = yield* sql.listen("plain")
        yield* sql.notify("plain", "hello")
        const heard = yield* Stream.runCollect(Stream.take(Stream.fromQueue(queue), 1))
        assert.strictEqual(heard[0]?.payload, "hello")
      }))
      const wide = yield* sql`select repeat('ü', 3000000) as wide, ${"x".repeat(3_000_000)}::text as sent`
      assert.strictEqual(String(wide[0]?.["wide"]).length, 3_000_000)
      assert.strictEqual(String(wide[0]?.["sent"]).length, 3_000_000)
    })))
})

/** A relay of bytes that cuts them into pieces of its own choice. */
const chopping = (pieceSize: (n: number) => number) =>
  Effect.acquireRelease(
    Effect.callback<{ readonly url: Redacted.Redacted; readonly close: () => void }>((resume) => {
      const target = new URL(Redacted.value(url))
      const sockets = new Set<Socket>()
      const pass = (from: Socket, to: Socket) => {
        let n = 0
        from.on("data", (chunk: Buffer) => {
          for (let at = 0; at < chunk.length;) {
            const size = Math.max(1, pieceSize(n++))
            to.write(chunk.subarray(at, at + size))
            at += size
          }
        })
        from.on("close", () => to.destroy())
        from.on("error", () => to.destroy())
        from.setNoDelay(true)
        sockets.add(from)
      }
      const server = createServer((client) => {
        const upstream = connect(Number(target.port), target.hostname)
        pass(client, upstream)
        pass(upstream, client)
      })
      server.listen(0, "127.0.0.1", () => {
        const address = server.address()
        const through = new URL(target)
        through.port = String(typeof address === "object" ? address?.port : 0)
        resume(Effect.succeed({
          url: Redacted.make(through.href),
          close: () => {
            for (const socket of sockets) socket.destroy()
            server.close()
          }
        }))
      })
    }),
    ({ close }) => Effect.sync(close)
  )

describe("framing", () => {
  const sizes: ReadonlyArray<readonly [string, (n: number) => number]> = [
    ["single bytes", () => 1],
    ["three bytes", () => 3],
    ["uneven pieces", (n) => [1, 4, 7, 2, 61, 5, 1_400][n % 7] ?? 1]
  ]
  for (const [what, pieceSize] of sizes) {
    it(`statements, errors, notices and COPY come through a network that delivers ${what}`, () =>
      Effect.flatMap(chopping(pieceSize), ({ url }) =>
        Effect.gen(function*() {
          const sql = yield* PgClient.PgClient
          const transport = yield* PgTransport.PgTransport
          const name = `chopped_${what.replaceAll(" ", "_")}`
          yield* sql.unsafe(`create table ${name} (n int, body text)`)
          const body = "ü\tx".repeat(50)
          yield* PgCopy.copyInRows({ table: name }, Stream.map(Stream.range(1, 300), (n) => [n, body]))
          const rows = yield* Stream.runCollect(PgCopy.copyOutRows({ query: `select * from ${name} order by n` }))
          assert.deepStrictEqual(rows, Array.from({ length: 300 }, (_, i) => [String(i + 1), body]))
          const error = yield* Effect.flip(sql.unsafe(`select * from ${name} where n = 1 / 0`))
          assert.include(JSON.stringify(error.reason.cause), "22012")
          yield* sql.unsafe("do $$ begin raise notice 'cut'; end $$")
          const [notice] = yield* Stream.runCollect(Stream.take(transport.notices, 1))
          assert.strictEqual(notice?.fields.message, "cut")
          const bad = yield* Effect.exit(PgCopy.copyInLines({ table: name }, Stream.make("1\ta", "x\tb")))
          assert.isTrue(Exit.isFailure(bad))
          assert.strictEqual((yield* sql.unsafe(`select n from ${name}`)).length, 300)
        }).pipe(Effect.provide(PgTransport.layer({ url, maxConnections: 1 })))).pipe(Effect.scoped, Effect.runPromise))
  }

  it("a server that sends a frame shorter than its header loses the session, not the process", () =>
    Effect.gen(function*() {
      const broken = yield* Effect.acquireRelease(
        Effect.callback<{ readonly port: number; readonly close: () => void }>((resume) => {
          const target = new URL(Redacted.value(url))
          const sockets = new Set<Socket>()
          const server = createServer((client) => {
            const upstream = connect(Number(target.port), target.hostname)
            for (const socket of [client, upstream]) {
              sockets.add(socket)
              socket.on("error", () => {})
            }
            upstream.on("data", (chunk) => client.write(chunk))
            client.on("data", (chunk: Buffer) => {
              if (chunk.includes("break it")) client.write(Buffer.from([0x54, 0, 0, 0, 3]))
              else upstream.write(chunk)
            })
          })
          server.listen(0, "127.0.0.1", () => {
            const address = server.address()
            resume(Effect.succeed({
              port: typeof address === "object" ? address?.port ?? 0 : 0,
              close: () => {
                for (const socket of sockets) socket.destroy()
                server.close()
              }
            }))
          })
        }),
        ({ close }) => Effect.sync(close)
      )
      const through = new URL(Redacted.value(url))
      through.port = String(broken.port)
      yield* Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        const error = yield* Effect.flip(sql`select 'break it'`)
        const { cause } = error.reason
        assert.isTrue(cause instanceof PgTransport.PgTransportError && cause.reason._tag === "ProtocolViolation")
        yield* sql`select 1`
      }).pipe(Effect.provide(PgTransport.layer({ url: Redacted.make(through.href), maxConnections: 1 })))
    }).pipe(Effect.scoped, Effect.runPromise))
})

describe("back-pressure", () => {
  it("case 10: a result of 200 MB with a reader that stops stalls the server, not the memory", () =>
    run(Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const started = yield* Deferred.make<void>()
      const go = yield* Deferred.make<void>()
      let n = 0
      const reader = yield* Effect.forkScoped(Stream.runForEach(
        sql`select repeat('x', 100000) as body from generate_series(1, 2000)`.stream,
        () => {
          n++
          return Effect.andThen(Deferred.succeed(started, undefined), Deferred.await(go))
        }
      ))
      yield* Deferred.await(started)
      yield* untilOneWaits(sql, "ClientWrite")
      // What waits is 256 KiB and what the driver read ahead; the rest is what the collector has not taken yet.
      assert.isBelow(process.memoryUsage().arrayBuffers, 120_000_000)
      yield* Deferred.succeed(go, undefined)
      yield* Fiber.join(reader)
      assert.strictEqual(n, 2_000)
    })))

  it("case 10: a server that does not read stalls the source of a COPY, not the memory", () =>
    run(
      Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        yield* sql`create table stalled (body text)`
        yield* sql.unsafe(`create function stalled_wait() returns trigger language plpgsql as
        $$ begin perform pg_advisory_xact_lock(42); return new; end $$`)
        yield* sql.unsafe(`create trigger wait before insert on stalled for each row execute function stalled_wait()`)
        const locked = yield* Deferred.make<void>()
        const release = yield* Deferred.make<void>()
        const holder = yield* Effect.forkScoped(sql.withTransaction(Effect.gen(function*() {
          yield* sql`select pg_advisory_xact_lock(42)`
          yield* Deferred.succeed(locked, undefined)
          yield* Deferred.await(release)
        })))
        yield* Deferred.await(locked)
        const line = Buffer.from(`${"y".repeat(65_535)}\n`)
        let sent = 0
        const copy = yield* Effect.forkScoped(PgCopy.copyIn(
          { table: "stalled" },
          // One at a time: a stream maps whole arrays ahead.
          Stream.rechunk(Stream.range(1, 1_000), 1).pipe(Stream.map(() => {
            sent++
            return line
          }))
        ))
        // What the source was asked for no longer grows: the kernel's buffers and ours are full.
        let before = -1
        yield* Effect.repeat(
          Effect.sync(() => {
            const same = sent === before && sent > 0
            before = sent
            return same
          }),
          { until: (same) => same, schedule: Schedule.spaced("200 millis") }
        )
        assert.isBelow(sent, 500)
        yield* Deferred.succeed(release, undefined)
        yield* Fiber.join(holder)
        assert.deepStrictEqual(yield* Fiber.join(copy), { rows: 1_000 })
      }),
      { maxConnections: 2 }
    ))
})

const sockets = () => process.getActiveResourcesInfo().filter((kind) => kind === "TCPSocketWrap").length

describe("the end", () => {
  it("case 11: closing the scope leaves no socket, interruption no cancel socket", () =>
    Effect.gen(function*() {
      const before = sockets()
      yield* Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        yield* Effect.all(Array.from({ length: 4 }, () => sql`select pg_sleep(0.01)`), { concurrency: 4 })
        const slow = yield* Effect.forkScoped(sql`select pg_sleep(100)`)
        yield* untilOneWaits(sql, "PgSleep")
        yield* Fiber.interrupt(slow)
      }).pipe(Effect.scoped, Effect.provide(PgTransport.layer({ url, maxConnections: 4 })))
      yield* until(Effect.sync(() => sockets() <= before))
      assert.isAtMost(sockets(), before)
      yield* until(Effect.provide(
        Effect.map(
          Effect.flatMap(PgClient.PgClient, (owner) =>
            owner<{ readonly n: number }>`
              select count(*)::int4 as n from pg_stat_activity
               where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'`),
          (rows) => rows[0]?.n === 0
        ),
        PgClient.layer({ url, maxConnections: 1 })
      ))
    }).pipe(Effect.runPromise))
})
