import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { PgTransport } from "@restante/pg-session"
import * as PgCancel from "@restante/pg-session/PgCancel"
import { Effect, Exit, Fiber, Metric, Redacted, Schedule, Scope } from "effect"
import { isSqlError, type SqlError } from "effect/sql/SqlError"
import * as TestClock from "effect/testing/TestClock"
import { execFile } from "node:child_process"
import { join } from "node:path"
import { promisify } from "node:util"
import { afterAll, beforeAll } from "vitest"
import { eventually } from "./fixtures/embedded-postgres/probe.ts"
import { type Authority, authority, type Pair } from "./fixtures/pg-session/certificates.ts"
import * as Fake from "./fixtures/pg-session/fakeServer.ts"
import * as Recorder from "./fixtures/pg-session/recorder.ts"
import { make as makeTlsServer, password, type TlsServer } from "./fixtures/pg-session/tlsServer.ts"

const scope = Scope.makeUnsafe()
let server: TlsServer
let ca: Authority
let good: Pair

beforeAll(async () => {
  ca = await authority("Restante test authority")
  good = await ca.issue({
    commonName: "localhost",
    names: [{ type: "dns", value: "localhost" }, { type: "ip", value: "127.0.0.1" }]
  })
  server = await Effect.runPromise(Scope.provide(makeTlsServer, scope))
  await Effect.runPromise(server.present(good))
})
afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

const tls = () => ({ mode: "verify-full", ca: ca.cert }) as const

/** A statement that does not end by itself while a test lasts. */
const endless = "select pg_sleep(600)"

const transport = (port = server.port) =>
  PgTransport.layer({
    host: server.host,
    port,
    username: "by_scram",
    database: "postgres",
    password,
    tls: tls(),
    maxConnections: 1
  })

/** A plain client of the superuser, for looking from outside. */
const withOwner = <A, E>(use: (sql: PgClient.PgClient) => Effect.Effect<A, E>) =>
  Effect.flatMap(PgClient.PgClient, use).pipe(Effect.provide(PgClient.layer({ url: server.server.url })))

const isRunning = (pid: number) =>
  withOwner((sql) =>
    Effect.map(
      sql`select 1 from pg_stat_activity where pid = ${pid}::int4 and state = 'active' and query = ${endless}`,
      (rows) => rows.length === 1
    )
  )

/** Runs a statement without end on a transport's session, and what is to be done to it. */
const during = <A, E, R>(
  act: (session: PgTransport.Session, fiber: Fiber.Fiber<unknown, SqlError>) => Effect.Effect<A, E, R>,
  port?: number
) =>
  Effect.gen(function*() {
    const sql = yield* PgClient.PgClient
    const fiber = yield* Effect.forkChild(sql.unsafe(endless))
    const sessions = (yield* PgTransport.PgTransport).sessions
    const session = yield* Effect.flatMap(sessions, ([first]) =>
      first === undefined ? Effect.fail("no session yet") : Effect.succeed(first)).pipe(
        Effect.retry(Schedule.spaced("5 millis"))
      )
    yield* Effect.repeat(isRunning(session.pid), {
      until: (running) =>
        running
    })
    const result = yield* act(session, fiber)
    yield* Fiber.interrupt(fiber)
    return result
  }).pipe(Effect.provide(transport(port)))

const assertCancelled = Effect.fnUntraced(function*(fiber: Fiber.Fiber<unknown, SqlError>) {
  const error = yield* Effect.flip(Fiber.join(fiber))
  assert.isTrue(isSqlError(error))
  const { cause } = error.reason
  assert.include(cause, { code: "57014" })
})

const refusal = (effect: Effect.Effect<void, PgCancel.CancelError>) =>
  Effect.map(Effect.flip(effect), (error) => {
    assert.instanceOf(error, PgCancel.CancelError)
    return error.reason
  })

const secret = Redacted.make(new Uint8Array([1, 2, 3, 4]))

describe("cancel by pid", () => {
  it.live("case 32: the statement ends with 57014, and its session can be used again", () =>
    Effect.gen(function*() {
      const pid = yield* during((session, fiber) =>
        Effect.gen(function*() {
          yield* PgCancel.cancel(session.pid)
          yield* assertCancelled(fiber)
          const sql = yield* PgClient.PgClient
          const [row] = yield* sql<{ readonly pid: number }>`select pg_backend_pid() as pid`
          assert.strictEqual(row?.pid, session.pid)
          return session.pid
        })
      )
      assert.isAbove(pid, 0)
    }))

  it.live("case 32: by a transaction's handle", () =>
    during((session, fiber) =>
      Effect.gen(function*() {
        yield* PgCancel.cancelCurrent({ pid: session.pid })
        yield* assertCancelled(fiber)
      })
    ))

  it.live("cancels are counted", () =>
    Effect.gen(function*() {
      yield* during((session, fiber) =>
        Effect.gen(function*() {
          yield* PgCancel.cancel(session.pid)
          yield* assertCancelled(fiber)
        })
      )
      const counter = (yield* Metric.snapshot).find(({ id }) => id === "restante_pg_session_cancels")
      assert.include(counter?.state, { count: 1 })
    }).pipe(Effect.provideService(Metric.MetricRegistry, new Map())))

  it.live("a pid that no session has succeeds, and nothing is sent", () =>
    Effect.gen(function*() {
      const recorder = yield* Recorder.make(server)
      yield* PgCancel.cancel(1).pipe(Effect.provide(PgTransport.layer({ host: "127.0.0.1", port: recorder.port })))
      assert.strictEqual(recorder.sent().length, 0)
    }).pipe(Effect.scoped))

  it.live("a PgTransport that is none of this package is Misuse", () =>
    Effect.gen(function*() {
      const real = yield* PgTransport.PgTransport
      const reason = yield* refusal(Effect.provideService(PgCancel.cancel(1), PgTransport.PgTransport, { ...real }))
      assert.instanceOf(reason, PgTransport.Misuse)
      assert.include(reason.message, "cancelBySql")
    }).pipe(Effect.provide(transport())))

  it.live("a server that takes no connections any more is a CancelError, and the statement goes on", () =>
    Effect.scoped(Effect.gen(function*() {
      const recorder = yield* Recorder.make(server)
      yield* during((session) =>
        Effect.gen(function*() {
          yield* recorder.refuse
          const transport = yield* PgTransport.PgTransport
          const reason = yield* refusal(
            Effect.provideService(PgCancel.cancel(session.pid), PgTransport.PgTransport, transport)
          )
          assert.instanceOf(reason, PgTransport.Unreachable)
          assert.isTrue(yield* isRunning(session.pid))
          yield* transport.destroy(session.pid)
        }), recorder.port)
    })))
})

describe("cancelAt", () => {
  it.live("case 32: over TLS with pid and secret: 57014, and the secret is not seen on the wire", () =>
    Effect.scoped(during((session, fiber) =>
      Effect.gen(function*() {
        const recorder = yield* Recorder.make(server)
        yield* PgCancel.cancelAt({
          host: "127.0.0.1",
          port: recorder.port,
          tls: tls(),
          pid: session.pid,
          secret: session.secret
        })
        yield* assertCancelled(fiber)
        const sent = recorder.sent()
        assert.strictEqual(sent.subarray(0, 8).toString("hex"), "0000000804d2162f")
        assert.isFalse(sent.includes(Buffer.from(Redacted.value(session.secret))))
        yield* eventually("no connection", () => recorder.open() === 0)
      })
    )))

  it.live("case 32: from another process", () =>
    during((session, fiber) =>
      Effect.gen(function*() {
        const told = JSON.stringify({
          host: "localhost",
          port: server.port,
          ca: ca.cert,
          pid: session.pid,
          secret: Buffer.from(Redacted.value(session.secret)).toString("hex")
        })
        const program = join(import.meta.dirname, "fixtures/pg-session/cancelAt.ts")
        yield* Effect.promise(() => promisify(execFile)(process.execPath, [program, told]))
        yield* assertCancelled(fiber)
      })
    ))

  it.live("case 32: direct negotiation, and plaintext where it is the default", () =>
    Effect.gen(function*() {
      for (const options of [{ tls: { ...tls(), negotiation: "direct" as const } }, {}]) {
        yield* during((session, fiber) =>
          Effect.gen(function*() {
            const { pid, secret: known } = session
            yield* PgCancel.cancelAt({ host: server.host, port: server.port, pid, secret: known, ...options })
            yield* assertCancelled(fiber)
          })
        )
      }
    }))

  it.live("case 32: a wrong secret or pid succeeds, and the statement goes on", () =>
    during((session) =>
      Effect.gen(function*() {
        const at = { host: server.host, port: server.port, tls: tls() }
        yield* PgCancel.cancelAt({ ...at, pid: session.pid, secret })
        yield* PgCancel.cancelAt({ ...at, pid: 1, secret: session.secret })
        yield* PgCancel.cancelAt({
          ...at,
          pid: session.pid,
          secret: Redacted.make(Uint8Array.from([...Redacted.value(session.secret), 0]))
        })
        assert.isTrue(yield* isRunning(session.pid))
      })
    ))

  it.live("case 32: a closed port is a CancelError", () =>
    Effect.gen(function*() {
      const fake = yield* Effect.scoped(Fake.make(() => Promise.resolve()))
      const reason = yield* refusal(PgCancel.cancelAt({ host: fake.host, port: fake.port, pid: 1, secret }))
      assert.instanceOf(reason, PgTransport.Unreachable)
      assert.include(reason.problem, "connection refused")
      const noSocket = yield* refusal(PgCancel.cancelAt({ path: "/nowhere/.s.PGSQL.5432", pid: 1, secret }))
      assert.instanceOf(noSocket, PgTransport.Unreachable)
    }))

  it.live("a server without TLS, or with a certificate that is not to be trusted, learns nothing", () =>
    Effect.scoped(Effect.gen(function*() {
      const without = yield* Fake.make(async (peer) => {
        await peer.sslRequest()
        peer.send(Buffer.from("N"))
        await peer.closed
      })
      const at = { host: without.host, port: without.port, pid: 1, secret }
      assert.instanceOf(yield* refusal(PgCancel.cancelAt({ ...at, tls: tls() })), PgTransport.TlsError)
      assert.strictEqual(without.peers[0]?.received.length, 8)

      const other = yield* Effect.promise(() => authority("another authority"))
      const untrusted = yield* refusal(PgCancel.cancelAt({
        ...at,
        port: server.port,
        tls: { mode: "verify-full", ca: other.cert }
      }))
      assert.instanceOf(untrusted, PgTransport.TlsError)
    })))

  it.live("a secret may be 4 to 256 bytes long, and is sent as it is", () =>
    Effect.scoped(Effect.gen(function*() {
      const fake = yield* Fake.make(async (peer) => {
        const request = await peer.startup()
        peer.socket.end()
        return request
      })
      const at = { host: fake.host, port: fake.port, pid: 0x0102_0304 }
      for (const length of [4, 32, 256]) {
        const bytes = new Uint8Array(length).fill(length)
        yield* PgCancel.cancelAt({ ...at, secret: Redacted.make(bytes) })
        const request = yield* Effect.fromNullishOr(fake.played.at(-1))
        assert.strictEqual(request.readInt32BE(0), 80_877_102)
        assert.strictEqual(request.readInt32BE(4), 0x0102_0304)
        assert.deepStrictEqual(Uint8Array.from(request.subarray(8)), bytes)
      }
    })))

  it.live("what cannot be right is a ConfigError, and nothing is sent", () =>
    Effect.scoped(Effect.gen(function*() {
      const fake = yield* Fake.make((peer) => peer.closed)
      const at = { host: fake.host, port: fake.port, pid: 1, secret }
      const wrong: ReadonlyArray<PgCancel.CancelAtOptions> = [
        ...[0, 3, 257].map((length) => ({ ...at, secret: Redacted.make(new Uint8Array(length)) })),
        ...[0, -1, 1.5, Number.NaN, 2 ** 31].map((pid) => ({ ...at, pid })),
        { ...at, port: 0 },
        { ...at, host: "one,two" },
        { ...at, tls: { negotiation: "direct" } },
        { path: "", pid: 1, secret }
      ]
      for (const options of wrong) {
        assert.instanceOf(yield* refusal(PgCancel.cancelAt(options)), PgTransport.ConfigError)
      }
      assert.lengthOf(fake.peers, 0)
    })))

  const silent = Fake.make(async (peer) => {
    await peer.startup()
    await peer.closed
  })

  it.effect("a server that does not close within 5 s is a CancelError, and the socket is closed", () =>
    Effect.scoped(Effect.gen(function*() {
      const fake = yield* silent
      const fiber = yield* Effect.forkChild(
        refusal(PgCancel.cancelAt({ host: fake.host, port: fake.port, pid: 1, secret }))
      )
      yield* eventually("the request", () => fake.peers[0]?.received.length === 16)
      yield* TestClock.adjust("4999 millis")
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      assert.instanceOf(yield* Fiber.join(fiber), PgTransport.Unreachable)
      yield* Effect.promise(() => fake.peers[0]?.closed ?? Promise.resolve())
    })))

  it.live("interruption closes the socket", () =>
    Effect.scoped(Effect.gen(function*() {
      const fake = yield* silent
      const fiber = yield* Effect.forkChild(
        PgCancel.cancelAt({ host: fake.host, port: fake.port, pid: 1, secret })
      )
      yield* eventually("the request", () => fake.peers[0]?.received.length === 16)
      yield* Fiber.interrupt(fiber)
      yield* Effect.promise(() => fake.peers[0]?.closed ?? Promise.resolve())
      assert.lengthOf(fake.peers, 1)
    })))

  it.live("a reset after the request is a close", () =>
    Effect.scoped(Effect.gen(function*() {
      const fake = yield* Fake.make(async (peer) => {
        await peer.startup()
        peer.socket.resetAndDestroy()
      })
      yield* PgCancel.cancelAt({ host: fake.host, port: fake.port, pid: 1, secret })
      assert.lengthOf(fake.peers, 1)
    })))
})

describe("cancelBySql", () => {
  it.live("true: the signal was sent, and the statement ends with 57014", () =>
    during((session, fiber) =>
      Effect.gen(function*() {
        assert.isTrue(yield* bySql(session.pid))
        yield* assertCancelled(fiber)
      })
    ))

  it.live("false: there is no such process", () =>
    Effect.gen(function*() {
      assert.isFalse(yield* bySql(0x7fff_ffff))
    }))

  it.live("a role that may not has the server's error, and the statement goes on", () =>
    during((session) =>
      Effect.gen(function*() {
        const owner = yield* withOwner((sql) => sql<{ readonly pid: number }>`select pg_backend_pid() as pid`)
        assert.lengthOf(owner, 1)
        const stranger = PgClient.layer({
          host: server.host,
          port: server.port,
          username: "by_trust",
          database: "postgres"
        })
        const error = yield* Effect.flip(PgCancel.cancelBySql(session.pid).pipe(Effect.provide(stranger)))
        assert.isTrue(isSqlError(error))
        assert.include(error.reason.cause, { code: "42501" })
        assert.isTrue(yield* isRunning(session.pid))
      })
    ))
})

const bySql = (pid: number) =>
  PgCancel.cancelBySql(pid).pipe(Effect.provide(PgClient.layer({ url: server.server.url })))
