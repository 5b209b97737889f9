import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { PgTransport } from "@restante/pg-session"
import { Duration, Effect, Exit, Fiber, Metric, Redacted, Schedule, Scope } from "effect"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { connect as connectTcp } from "node:net"
import { networkInterfaces, tmpdir } from "node:os"
import { join } from "node:path"
import { connect as connectTls } from "node:tls"
import { inspect } from "node:util"
import { afterAll, beforeAll } from "vitest"
import { eventually } from "./fixtures/embedded-postgres/probe.ts"
import { type Authority, authority, type Kind, type Pair, selfSigned } from "./fixtures/pg-session/certificates.ts"
import * as Fake from "./fixtures/pg-session/fakeServer.ts"
import { login, refusal } from "./fixtures/pg-session/login.ts"
import * as Recorder from "./fixtures/pg-session/recorder.ts"
import { make as makeTlsServer, password, type TlsServer } from "./fixtures/pg-session/tlsServer.ts"

const names = [{ type: "dns", value: "localhost" }, { type: "ip", value: "127.0.0.1" }] as const

const secret = Redacted.value(password)

const scope = Scope.makeUnsafe()
let server: TlsServer
let ca: Authority
let good: Pair

beforeAll(async () => {
  ca = await authority("Restante test authority")
  good = await ca.issue({ commonName: "localhost", names })
  server = await Effect.runPromise(Scope.provide(makeTlsServer, scope))
})
afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

/** A role of the real server, in plaintext on the loopback interface. */
const plain = (username = "by_scram") => ({
  host: server.host,
  port: server.port,
  username,
  database: "postgres",
  password
})

/** The same with TLS that is verified. */
const secured = (username?: string) => ({ ...plain(username), tls: { mode: "verify-full", ca: ca.cert } as const })

const assertAuth = (
  reason: PgTransport.PgTransportErrorReason,
  kind: PgTransport.AuthError["kind"]
): PgTransport.AuthError => {
  assert.instanceOf(reason, PgTransport.AuthError)
  assert.strictEqual(reason.kind, kind)
  return reason
}

/** The reason for which nothing is even tried. */
const unusable = (options: PgTransport.Options) =>
  Effect.map(Effect.flip(Effect.scoped(PgTransport.make(options))), (error) => {
    assert.strictEqual(error.reason._tag, "ConfigError")
    return error
  })

/** A script that reads the StartupMessage first. */
const afterStartup = <A>(script: (peer: Fake.Peer) => Promise<A>) => async (peer: Fake.Peer): Promise<A> => {
  await peer.startup()
  return script(peer)
}

/** A script that speaks TLS from the SSLRequest on. */
const afterTls = <A>(pair: Pair, script: (peer: Fake.Peer) => Promise<A>) => async (peer: Fake.Peer): Promise<A> => {
  await peer.sslRequest()
  peer.send(Buffer.from("S"))
  await peer.secure(pair)
  await peer.startup()
  return script(peer)
}

const sayAndWait = (...frames: ReadonlyArray<Uint8Array>) => async (peer: Fake.Peer): Promise<void> => {
  peer.send(...frames)
  await peer.closed
}

const refusalBy = (
  script: (peer: Fake.Peer) => Promise<unknown>,
  options: PgTransport.Options = {}
) =>
  Effect.scoped(Effect.gen(function*() {
    const fake = yield* Fake.make(script)
    const reason = yield* refusal({ host: fake.host, port: fake.port, password, ...options })
    return { reason, peers: fake.peers }
  }))

const scramBy = (options: Omit<Fake.Scram, "password">) =>
  refusalBy(afterStartup((peer) => Fake.scram(peer, { password: secret, mechanisms: ["SCRAM-SHA-256"], ...options })))

/** Speaks TLS with the client and with the server, reads all that they say, and may take away the offer of a binding. */
const between = (target: TlsServer, strip: boolean) => async (client: Fake.Peer): Promise<void> => {
  const raw = connectTcp(target.port, target.host)
  raw.write(Buffer.from("0000000804d2162f", "hex"))
  await new Promise((resolve) => raw.once("data", resolve))
  const upstream = connectTls({ socket: raw, rejectUnauthorized: false })
  upstream.on("error", () => {})
  // The request for TLS was answered here.
  upstream.write(client.received.subarray(8))
  upstream.once("data", (request: Buffer) => {
    client.send(strip ? Fake.authentication(10, "SCRAM-SHA-256\0\0") : request)
    upstream.pipe(client.socket)
    client.socket.pipe(upstream)
  })
  await client.closed
  upstream.destroy()
}

/** A notice that is so long. */
const notice = (size: number) => Fake.frame("N", `SNOTICE\0C00000\0M${"x".repeat(size)}\0\0`)

/** What a caller without types may write. */
const untyped = (options: unknown): PgTransport.Options => Object.assign({}, options)

/** A password that counts how often it is asked for, and lets the test act at the third time. */
const counting = (atThird: Effect.Effect<unknown> = Effect.void) => {
  const counted = { times: 0 }
  const effect = Effect.suspend(() => {
    counted.times++
    return Effect.as(counted.times === 3 ? atThird : Effect.void, password)
  })
  return { counted, password: effect }
}

const challenge = (peer: Fake.Peer) => {
  peer.send(Fake.authentication(10, "SCRAM-SHA-256\0\0"))
  return peer.frame()
}

/** What an operator sees of one of the package's counters. */
const counted = (name: string) =>
  Effect.map(Metric.snapshot, (metrics) => {
    const found = metrics.find(({ id }) => id === `restante_pg_session_${name}`)
    return found?.type === "Counter" ? found.state.count : 0
  })

const ownMetrics = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  // Not one map for all: each run of the effect counts from zero.
  Effect.suspend(() => Effect.provideService(effect, Metric.MetricRegistry, new Map()))

const timers = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length

describe("TLS", () => {
  it.live("case 1: login over TLS uses PLUS, and the session's facts say bound", () =>
    Effect.gen(function*() {
      yield* server.present(good)
      const session = yield* login({ ...secured(), host: "localhost" })
      assert.strictEqual(session.method, "scram-sha-256-plus")
      assert.isTrue(session.bound)
      assert.deepStrictEqual(session.address, { host: "localhost", port: server.port })
      assert.match(session.serverVersion, /^18/)
      const { cipher, version } = yield* Effect.fromOption(session.tls)
      assert.match(version, /^TLSv1\.[23]$/)
      assert.match(cipher, /^TLS_/)
      assert.strictEqual(Redacted.value(session.secret).length, 4)
    }))

  it.live.each<readonly [Kind, "SHA-256" | "SHA-384" | "SHA-512"]>([
    ["ecdsa", "SHA-384"],
    ["ecdsa", "SHA-512"],
    ["rsa", "SHA-256"],
    ["rsa", "SHA-384"],
    ["rsa-pss", "SHA-384"]
  ])(
    "case 1: PostgreSQL accepts the binding to a certificate signed by %s with %s",
    ([kind, hash]) =>
      Effect.gen(function*() {
        const other = yield* Effect.promise(() => authority(`${kind} ${hash}`, kind, hash))
        yield* server.present(yield* Effect.promise(() => other.issue({ commonName: "localhost", names })))
        const session = yield* login({ ...plain(), tls: { mode: "verify-full", ca: other.cert } })
        assert.strictEqual(session.method, "scram-sha-256-plus")
        assert.isTrue(session.bound)
      })
  )

  it.live.each<readonly [Kind, "SHA-1" | "SHA-256" | "SHA-512", string]>([
    ["rsa", "SHA-1", "sha256"],
    ["ecdsa", "SHA-1", "sha256"],
    ["rsa-pss", "SHA-1", "sha256"],
    ["rsa-pss", "SHA-256", "sha256"],
    ["rsa-pss", "SHA-512", "sha512"]
  ])(
    "case 1: the binding to a certificate signed by %s with %s is made with %s",
    ([kind, hash, bound]) =>
      Effect.scoped(Effect.gen(function*() {
        const other = yield* Effect.promise(() => authority(`${kind} ${hash}`, kind, hash))
        const pair = yield* Effect.promise(() => other.issue({ commonName: "localhost", names }))
        const fake = yield* Fake.make(
          afterTls(pair, (peer) => Fake.scram(peer, { password: secret, bind: { pair, hash: bound } }))
        )
        // SHA-1 is too weak for a chain to be believed.
        const session = yield* login({ host: fake.host, port: fake.port, password, tls: { mode: "insecure" } })
        assert.strictEqual(session.method, "scram-sha-256-plus")
        assert.deepStrictEqual(fake.played, [{ mechanism: "SCRAM-SHA-256-PLUS", header: "p=tls-server-end-point,," }])
      }))
  )

  it.live("a certificate whose signature has no hash has no binding: plain SCRAM if it is preferred, refused if required", () =>
    Effect.scoped(Effect.gen(function*() {
      const other = yield* Effect.promise(() => authority("Ed25519", "ed25519"))
      const pair = yield* Effect.promise(() => other.issue({ commonName: "localhost", kind: "ed25519", names }))
      const fake = yield* Fake.make(afterTls(pair, (peer) => Fake.scram(peer, { password: secret })))
      const options = { ...fake, password, tls: { mode: "verify-full", ca: other.cert } as const }
      const { bound, method } = yield* login({ host: fake.host, port: fake.port, password, tls: options.tls })
      assert.deepStrictEqual([method, bound], ["scram-sha-256", false])
      assert.deepStrictEqual(fake.played, [{ mechanism: "SCRAM-SHA-256", header: "n,," }])
      const reason = yield* refusal({
        host: fake.host,
        port: fake.port,
        password,
        tls: options.tls,
        channelBinding: "require"
      })
      assertAuth(reason, "BindingUnavailable")
    })))

  it.live("case 2: with binding required, a server over TLS that does not offer it is refused before a proof is sent", () =>
    Effect.gen(function*() {
      const { peers, reason } = yield* refusalBy(
        afterTls(good, sayAndWait(Fake.authentication(10, "SCRAM-SHA-256\0\0"))),
        { tls: { mode: "insecure" }, channelBinding: "require" }
      )
      assertAuth(reason, "BindingUnavailable")
      assert.notInclude(peers[0]?.received.toString("latin1") ?? "", "SCRAM")
    }))

  it.live("case 2: with binding required, a session without TLS is refused", () =>
    Effect.gen(function*() {
      assertAuth(yield* refusal({ ...plain(), channelBinding: "require" }), "BindingUnavailable")
    }))

  it.live("case 2: with binding disabled, plain SCRAM is used over TLS", () =>
    Effect.gen(function*() {
      yield* server.present(good)
      const session = yield* login({ ...secured(), channelBinding: "disable" })
      assert.strictEqual(session.method, "scram-sha-256")
      assert.isFalse(session.bound)
      assert.isTrue((yield* login({ ...secured(), channelBinding: "require" })).bound)
    }))

  it.live("when the offer of a binding is taken away, the client says that it could bind", () =>
    Effect.scoped(Effect.gen(function*() {
      const fake = yield* Fake.make(
        afterTls(good, (peer) => Fake.scram(peer, { password: secret, mechanisms: ["SCRAM-SHA-256"] }))
      )
      const tls = { mode: "verify-full", ca: ca.cert } as const
      assert.isFalse((yield* login({ host: fake.host, port: fake.port, password, tls })).bound)
      assert.deepStrictEqual(fake.played, [{ mechanism: "SCRAM-SHA-256", header: "y,," }])
    })))

  it.live("somebody between client and server, whose certificate is believed, is found out by the binding", () =>
    Effect.scoped(Effect.gen(function*() {
      yield* server.present(good)
      const theirs = yield* Effect.promise(() => selfSigned({ commonName: "localhost", names }))
      const login = (strip: boolean) =>
        Effect.gen(function*() {
          const fake = yield* Fake.make(afterTls(theirs, between(server, strip)))
          return assertAuth(yield* refusal({ ...plain(), port: fake.port, tls: { mode: "insecure" } }), "Rejected")
        })
      assert.strictEqual((yield* login(false)).sqlstate, "28000")
      // The client says that it could bind, and the server knows that it did offer it.
      const stripped = yield* login(true)
      assert.strictEqual(stripped.sqlstate, "28000")
      assert.include(stripped.problem, "channel binding")
    })))

  it.live("case 3: a certificate for another host is refused, unless only the chain is to be checked", () =>
    Effect.gen(function*() {
      const elsewhere = yield* Effect.promise(() =>
        ca.issue({ commonName: "db.example", names: [{ type: "dns", value: "db.example" }] })
      )
      yield* server.present(elsewhere)
      const reason = yield* refusal(secured())
      assert.instanceOf(reason, PgTransport.TlsError)
      assert.include(reason.problem, "another host name")
      assert.isTrue((yield* login({ ...secured(), tls: { mode: "verify-ca", ca: ca.cert } })).bound)
      const named = { mode: "verify-full", ca: ca.cert, servername: "db.example" } as const
      assert.isTrue((yield* login({ ...secured(), tls: named })).bound)
    }))

  it.live("case 3: a certificate of an unknown authority is refused, and only `insecure` takes it", () =>
    Effect.gen(function*() {
      yield* server.present(good)
      const other = yield* Effect.promise(() => authority("another authority"))
      for (const mode of ["verify-full", "verify-ca"] as const) {
        const reason = yield* refusal({ ...plain(), tls: { mode, ca: other.cert } })
        assert.instanceOf(reason, PgTransport.TlsError)
        assert.include(reason.problem, "unknown authority")
        assert.instanceOf(yield* refusal({ ...plain(), tls: { mode } }), PgTransport.TlsError)
      }
      assert.isTrue((yield* login({ ...plain(), tls: { mode: "insecure" } })).bound)
    }))

  it.live("case 3: a certificate that signs itself is refused", () =>
    Effect.gen(function*() {
      yield* server.present(yield* Effect.promise(() => selfSigned({ commonName: "localhost", names })))
      const reason = yield* refusal(secured())
      assert.instanceOf(reason, PgTransport.TlsError)
      assert.include(reason.problem, "signed by nobody but itself")
    }))

  it.live("an expired certificate is refused, and the error says so", () =>
    Effect.gen(function*() {
      yield* server.present(yield* Effect.promise(() => ca.issue({ commonName: "localhost", names, days: -3 })))
      for (const mode of ["verify-full", "verify-ca"] as const) {
        const reason = yield* refusal({ ...secured(), tls: { mode, ca: ca.cert } })
        assert.instanceOf(reason, PgTransport.TlsError)
        assert.include(reason.problem, "expired")
      }
    }))

  it.live("case 3: nothing but the request for TLS is sent before the certificate is believed", () =>
    Effect.scoped(Effect.gen(function*() {
      yield* server.present(good)
      const recorder = yield* Recorder.make(server)
      const other = yield* Effect.promise(() => authority("another authority"))
      const reason = yield* refusal({ ...plain(), port: recorder.port, tls: { mode: "verify-full", ca: other.cert } })
      assert.instanceOf(reason, PgTransport.TlsError)
      const sent = recorder.sent()
      assert.strictEqual(sent.subarray(0, 8).toString("hex"), "0000000804d2162f")
      // 22: a TLS record with a handshake.
      assert.strictEqual(sent[8], 22)
      assert.notInclude(sent.toString("latin1"), "by_scram")
    })))

  it.live("case 3: a server that answers N is refused, and is told nothing", () =>
    Effect.gen(function*() {
      const { peers, reason } = yield* refusalBy(async (peer) => {
        await peer.sslRequest()
        await sayAndWait(Buffer.from("N"))(peer)
      }, { tls: { mode: "insecure" } })
      assert.instanceOf(reason, PgTransport.TlsError)
      assert.include(reason.problem, "does not offer TLS")
      assert.strictEqual(peers[0]?.received.length, 8)
    }))

  it.live.each(["SX", "S\0\0\0\0", "SR\0\0\0\x08\0\0\0\0"])(
    "bytes beside the one answer to the request for TLS end the connection: %j",
    (answer) =>
      Effect.gen(function*() {
        const { peers, reason } = yield* refusalBy(async (peer) => {
          await peer.sslRequest()
          await sayAndWait(Buffer.from(answer, "latin1"))(peer)
        }, { tls: { mode: "insecure" } })
        assert.instanceOf(reason, PgTransport.ProtocolViolation)
        assert.strictEqual(peers[0]?.received.length, 8)
        yield* Effect.promise(() => peers[0]?.closed ?? Promise.resolve())
      })
  )

  it.live("an answer to the request for TLS that is no answer is a violation", () =>
    Effect.gen(function*() {
      const { reason } = yield* refusalBy(async (peer) => {
        await peer.sslRequest()
        await sayAndWait(Buffer.from("X"))(peer)
      }, { tls: { mode: "insecure" } })
      assert.instanceOf(reason, PgTransport.ProtocolViolation)
    }))

  it.live("an error in answer to the request for TLS is told by its code only, because anybody may have sent it", () =>
    Effect.gen(function*() {
      const { reason } = yield* refusalBy(async (peer) => {
        await peer.sslRequest()
        await sayAndWait(Fake.error("XX000", "call this number for help"))(peer)
      }, { tls: { mode: "insecure" } })
      assert.instanceOf(reason, PgTransport.Refused)
      assert.strictEqual(reason.sqlstate, "XX000")
      assert.notInclude(reason.message, "number")
    }))

  it.live("direct negotiation starts with TLS, and without the request for it", () =>
    Effect.scoped(Effect.gen(function*() {
      yield* server.present(good)
      const recorder = yield* Recorder.make(server)
      const tls = { mode: "verify-full", ca: ca.cert, negotiation: "direct" } as const
      assert.isTrue((yield* login({ ...plain(), port: recorder.port, tls })).bound)
      assert.strictEqual(recorder.sent()[0], 22)
    })))

  it.live("direct negotiation refuses a server that does not agree to the protocol", () =>
    Effect.gen(function*() {
      const { peers, reason } = yield* refusalBy(async (peer) => {
        await peer.secure(good)
        await peer.closed
      }, { tls: { mode: "verify-full", ca: ca.cert, negotiation: "direct" } })
      assert.instanceOf(reason, PgTransport.TlsError)
      assert.include(reason.problem, "postgresql")
      assert.strictEqual(peers[0]?.received.length, 0)
    }))

  it.live("direct negotiation with a server that is too old for it says so, and is not tried again", () =>
    Effect.gen(function*() {
      const { peers, reason } = yield* refusalBy(async (peer) => {
        await peer.take(1)
        peer.socket.end()
      }, { tls: { mode: "insecure", negotiation: "direct" } })
      assert.instanceOf(reason, PgTransport.TlsError)
      assert.include(reason.problem, "PostgreSQL 17")
      assert.lengthOf(peers, 1)
    }))

  it.live("a server whose handshake is no TLS is refused", () =>
    Effect.gen(function*() {
      const { reason } = yield* refusalBy(async (peer) => {
        await peer.take(1)
        await sayAndWait(Buffer.from("E could not fork a process"))(peer)
      }, { tls: { mode: "insecure", negotiation: "direct" } })
      assert.instanceOf(reason, PgTransport.TlsError)
    }))
})

describe("authentication", () => {
  it.live("SCRAM in plaintext on the loopback interface is accepted, and nothing is bound", () =>
    Effect.gen(function*() {
      const session = yield* login(plain())
      assert.deepStrictEqual([session.method, session.bound], ["scram-sha-256", false])
      assert.strictEqual(session.tls._tag, "None")
    }))

  const asked = {
    trust: { role: "by_trust", word: "trust" },
    md5: { role: "by_md5", word: "md5" },
    cleartext: { role: "by_cleartext", word: "cleartext" }
  } as const
  const words = ["md5", "cleartext", "trust", "remote-plaintext"] as const

  for (const [method, { role, word }] of Object.entries(asked)) {
    it.live(`case 4: ${method} is refused by default, with nothing but the StartupMessage on the wire`, () =>
      Effect.scoped(Effect.gen(function*() {
        const recorder = yield* Recorder.make(server)
        const reason = assertAuth(yield* refusal({ ...plain(role), port: recorder.port }), "MethodRefused")
        assert.include(reason.problem, `"${word}"`)
        const sent = recorder.sent()
        assert.strictEqual(sent.length, sent.readInt32BE(0))
        assert.notInclude(sent.toString("latin1"), secret)
      })))

    it.live(`case 4: ${method} is accepted with its own word only`, () =>
      Effect.gen(function*() {
        const others = words.filter((other) => other !== word)
        assertAuth(yield* refusal({ ...plain(role), allowLegacyAuth: others }), "MethodRefused")
        assert.strictEqual((yield* login({ ...plain(role), allowLegacyAuth: [word] })).method, method)
      }))

    it.live(`${method} is refused where binding is required, with nothing secret sent`, () =>
      Effect.scoped(Effect.gen(function*() {
        const recorder = yield* Recorder.make(server)
        const options = {
          ...plain(role),
          port: recorder.port,
          allowLegacyAuth: words,
          channelBinding: "require"
        } as const
        assertAuth(yield* refusal(options), "BindingUnavailable")
        assert.strictEqual(recorder.sent().length, recorder.sent().readInt32BE(0))
      })))
  }

  const remote = Object.values(networkInterfaces()).flatMap((found) => found ?? []).find(({ family, internal }) =>
    family === "IPv4" && !internal
  )?.address

  // Skipped on a machine without a network: then no address counts as remote.
  it.live.skipIf(remote === undefined)(
    "case 5: SCRAM over remote plaintext is refused, unless its word is given",
    () =>
      Effect.scoped(Effect.gen(function*() {
        const host = remote ?? ""
        const recorder = yield* Recorder.make(server, { host, port: 0 })
        const options = { ...plain(), host, port: recorder.port, tls: { mode: "disable" } as const }
        assertAuth(yield* refusal(options), "MethodRefused")
        assert.strictEqual(recorder.sent().length, recorder.sent().readInt32BE(0))
        const session = yield* login({ ...options, allowLegacyAuth: ["remote-plaintext"] })
        assert.strictEqual(session.method, "scram-sha-256")
      }))
  )

  it.live.skipIf(remote === undefined)(
    "a remote address gets TLS that is verified, if nothing else is said",
    () =>
      Effect.scoped(Effect.gen(function*() {
        yield* server.present(good)
        const host = remote ?? ""
        const recorder = yield* Recorder.make(server, { host, port: 0 })
        const reason = yield* refusal({ ...plain(), host, port: recorder.port })
        assert.instanceOf(reason, PgTransport.TlsError)
        const named = { ca: ca.cert, servername: "localhost" }
        assert.isTrue((yield* login({ ...plain(), host, port: recorder.port, tls: named })).bound)
      }))
  )

  it.live("case 5: SCRAM over a unix socket is accepted, by its path and by its directory", () =>
    Effect.scoped(Effect.gen(function*() {
      const directory = yield* Effect.acquireRelease(
        Effect.sync(() => mkdtempSync(join(tmpdir(), "restante-"))),
        (made) => Effect.sync(() => rmSync(made, { recursive: true }))
      )
      const path = join(directory, ".s.PGSQL.5433")
      yield* Recorder.make(server, { path })
      const credentials = { username: "by_scram", database: "postgres", password }
      const session = yield* login({ ...credentials, path })
      assert.deepStrictEqual([session.method, session.address], ["scram-sha-256", { path }])
      assert.deepStrictEqual((yield* login({ ...credentials, host: `${directory}/`, port: 5433 })).address, { path })
      const parts = [`host=${directory}`, "port=5433", "user=by_scram", "dbname=postgres"]
      const url = Redacted.make(`postgresql://?${parts.join("&")}`)
      assert.deepStrictEqual((yield* login({ username: "by_scram", url, password })).address, { path })
      const authorityForm = `postgresql://by_scram@${encodeURIComponent(directory)}:5433/postgres`
      assert.deepStrictEqual(
        (yield* login({ username: "by_scram", url: Redacted.make(authorityForm), password })).address,
        { path }
      )
    })))

  it.live("a wrong password is rejected with the server's code, and the server's fields are the cause", () =>
    Effect.gen(function*() {
      for (const options of [plain(), secured()]) {
        yield* server.present(good)
        const error = yield* Effect.flip(login({ ...options, password: Redacted.make("wrong horse") }))
        const reason = assertAuth(error.reason, "Rejected")
        assert.strictEqual(reason.sqlstate, "28P01")
        assert.include(error.cause, { code: "28P01", severity: "FATAL" })
      }
    }))

  it.live("no password for a server that wants one is refused", () =>
    Effect.gen(function*() {
      const { password: _, ...options } = plain()
      assert.include(assertAuth(yield* refusal(options), "MethodRefused").problem, "none is configured")
    }))

  it.live("a client certificate is enough where the server asks for nothing else", () =>
    Effect.gen(function*() {
      const clients = yield* Effect.promise(() => authority("clients"))
      const mine = yield* Effect.promise(() => clients.issue({ commonName: "by_certificate" }))
      yield* server.present(good, clients.cert)
      const { password: _, ...options } = secured("by_certificate")
      const tls = { ...options.tls, ...mine }
      assert.strictEqual((yield* login({ ...options, tls })).method, "trust")
      assertAuth(yield* refusal({ ...options, tls, channelBinding: "require" }), "BindingUnavailable")
      // Without one, a server that wants none is as bad over TLS as elsewhere.
      assertAuth(yield* refusal({ ...options, username: "by_certificate_or_trust" }), "MethodRefused")
      const missing = assertAuth(yield* refusal(options), "Rejected")
      assert.strictEqual(missing.sqlstate, "28000")
      const stranger = yield* Effect.promise(() => ca.issue({ commonName: "by_certificate" }))
      assert.instanceOf(yield* refusal({ ...options, tls: { ...options.tls, ...stranger } }), PgTransport.TlsError)
    }))

  it.live.each(
    [
      [2, "Kerberos"],
      [7, "GSS"],
      [9, "SSPI"],
      [42, "unknown method"]
    ] as const
  )("authentication method %i is refused: %s", ([code, name]) =>
    Effect.gen(function*() {
      const { peers, reason } = yield* refusalBy(afterStartup(sayAndWait(Fake.authentication(code))), {
        allowLegacyAuth: words
      })
      assert.include(assertAuth(reason, "MethodRefused").problem, name)
      const [peer] = peers
      assert.strictEqual(peer?.received.length, peer?.received.readInt32BE(0))
    }))

  it.live("a server that offers only what is not known is refused", () =>
    Effect.gen(function*() {
      for (const mechanisms of ["SCRAM-SHA-256-PLUS\0\0", "OAUTHBEARER\0\0", "\0"]) {
        const { reason } = yield* refusalBy(afterStartup(sayAndWait(Fake.authentication(10, mechanisms))))
        assertAuth(reason, "MethodRefused")
      }
    }))

  it.live("passwords are prepared as PostgreSQL prepares them, and used as they are where that fails", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      // A Roman nine becomes the letters I and X; a prohibited control character leaves the text as it is.
      const passwords = [
        { set: "nine \u2168", given: "nine IX" },
        { set: "nine IX", given: "nine\u00a0\u2168" },
        { set: "bell \u0007 é", given: "bell \u0007 é" }
      ]
      for (const { given, set } of passwords) {
        yield* sql.unsafe(`create role by_unicode login password '${set}'`)
        const exit = yield* Effect.exit(login({ ...plain("by_unicode"), password: Redacted.make(given) }))
        yield* sql.unsafe("drop role by_unicode")
        assert.isTrue(Exit.isSuccess(exit), given)
      }
    }).pipe(Effect.provide(PgClient.layer({ url: server.server.url }))))
})

describe("SCRAM exchanges that are not right", () => {
  const wrongSignature = `v=${Buffer.alloc(32, 7).toString("base64")}`

  it.live("case 6: a wrong signature of the server is ServerNotVerified, and there is no session", () =>
    Effect.gen(function*() {
      for (const final of [wrongSignature, "v=AAAA"]) {
        const { reason } = yield* scramBy({ final: () => final })
        assertAuth(reason, "ServerNotVerified")
      }
    }))

  it.live("case 6: a server that skips its signature is not verified", () =>
    Effect.gen(function*() {
      assertAuth((yield* scramBy({ final: () => undefined })).reason, "ServerNotVerified")
      const { reason } = yield* refusalBy(
        afterStartup(sayAndWait(Fake.authentication(10, "SCRAM-SHA-256\0\0"), ...Fake.greeting))
      )
      assertAuth(reason, "ServerNotVerified")
    }))

  it.live("a server that ends the exchange with an error has rejected it", () =>
    Effect.gen(function*() {
      const reason = assertAuth((yield* scramBy({ final: () => "e=invalid-proof" })).reason, "Rejected")
      assert.include(reason.problem, "invalid-proof")
    }))

  it.live("a last message that makes no sense is a bad exchange", () =>
    Effect.gen(function*() {
      for (const final of ["", "v=", "v=?", "x=1"]) {
        assertAuth((yield* scramBy({ final: () => final })).reason, "BadExchange")
      }
    }))

  const before: Readonly<Record<string, Omit<Fake.Scram, "password">>> = {
    "a nonce that does not extend the client's": { nonce: () => "completely-different" },
    "a nonce that is the client's": { nonce: (client) => client },
    "too few iterations": { iterations: 4095 },
    "too many iterations": { iterations: 10_000_001 },
    "no iterations": { iterations: 0 },
    "an empty salt": { salt: Buffer.alloc(0) }
  }
  for (const [name, options] of Object.entries(before)) {
    it.live(`${name}: a bad exchange, and no proof is sent`, () =>
      Effect.gen(function*() {
        const { peers, reason } = yield* scramBy(options)
        assertAuth(reason, "BadExchange")
        assert.notInclude(peers[0]?.received.toString("latin1") ?? "p=", "p=")
      }))
  }

  it.live.each(["", "garbage", "m=ext,r=x,s=AAAA,i=4096", "r=x,s=AA AA,i=4096", "r=x,s=AAAA,i=-1"])(
    "a challenge that makes no sense is a bad exchange: %j",
    (challenge) =>
      Effect.gen(function*() {
        const { reason } = yield* refusalBy(
          afterStartup(sayAndWait(Fake.authentication(10, "SCRAM-SHA-256\0\0"), Fake.authentication(11, challenge)))
        )
        assertAuth(reason, "BadExchange")
      })
  )

  it.live("the bounds of the iterations are options", () =>
    Effect.gen(function*() {
      const reason = assertAuth(yield* refusal({ ...plain(), scramIterations: { min: 4097 } }), "BadExchange")
      assert.include(reason.problem, "4096")
      assertAuth(yield* refusal({ ...plain(), scramIterations: { min: 1, max: 4095 } }), "BadExchange")
      assert.strictEqual((yield* login({ ...plain(), scramIterations: { max: 4096 } })).method, "scram-sha-256")
    }))
})

describe("frames before the session begins", () => {
  const trusting = { allowLegacyAuth: ["trust"] } as const

  it.live.each<readonly [string, Buffer]>([
    ["a length below 4", Buffer.from([0x52, 0, 0, 0, 3])],
    ["a negative length", Buffer.from([0x52, 0xff, 0xff, 0xff, 0xff])],
    ["more than 64 KiB", Buffer.concat([Buffer.from("N"), Fake.int(65_537)])],
    ["HTTP", Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n")],
    ["an authentication request that is cut short", Fake.frame("R", "\0\0")],
    ["a row", Fake.frame("D", "\0\0")],
    ["an error without a code", Fake.frame("E", "SFATAL\0Mno\0\0")]
  ])("%s is a violation, and the socket is closed", ([, bytes]) =>
    Effect.gen(function*() {
      const { peers, reason } = yield* refusalBy(afterStartup(sayAndWait(bytes)), trusting)
      assert.instanceOf(reason, PgTransport.ProtocolViolation)
      yield* Effect.promise(() => peers[0]?.closed ?? Promise.resolve())
    }))

  it.live("what comes between authentication and ReadyForQuery must make sense", () =>
    Effect.gen(function*() {
      const [ok = Buffer.alloc(0), , , key = Buffer.alloc(0), ready = Buffer.alloc(0)] = Fake.greeting
      const broken = [
        [ok, ready],
        [ok, Fake.frame("K", Fake.int(1)), ready],
        [ok, Fake.frame("K", Fake.int(1), Buffer.alloc(257)), ready],
        [ok, Fake.frame("S", "no value"), key, ready],
        [ok, Fake.frame("D", "\0\0")],
        [ok, key, Buffer.concat([Buffer.from("N"), Fake.int(2 ** 30)])]
      ]
      for (const frames of broken) {
        const { reason } = yield* refusalBy(afterStartup(sayAndWait(...frames)), trusting)
        assert.instanceOf(reason, PgTransport.ProtocolViolation)
      }
    }))

  it.live("frames may arrive in pieces of one byte, and long ones are taken as far as they are allowed", () =>
    Effect.scoped(Effect.gen(function*() {
      const fake = yield* Fake.make(afterStartup(async (peer) => {
        peer.send(notice(65_000))
        for (const byte of Buffer.concat(Fake.greeting.slice(0, -1))) {
          await new Promise((resolve) => peer.socket.write(Buffer.from([byte]), resolve))
        }
        peer.send(notice(200_000), ...Fake.greeting.slice(-1))
        await peer.closed
      }))
      const session = yield* login({ host: fake.host, port: fake.port, ...trusting })
      assert.strictEqual(session.pid, 4711)
      assert.strictEqual(session.serverVersion, "18.0")
    })))
})

describe("the URL and the options", () => {
  const hidden = "s3cret-in-url"
  const at = `postgresql://me:${hidden}@db.example:5433`

  it.live.each<readonly [string, string, string]>([
    ["sslmode=prefer", `${at}/db?sslmode=prefer`, "never done here"],
    ["sslmode=allow", `${at}/db?sslmode=allow`, "never done here"],
    ["an unknown sslmode", `${at}/db?sslmode=${hidden}`, "sslmode must be one of"],
    ["an unknown key", `${at}/db?target_session_attrs=any`, "target_session_attrs"],
    ["a key that is every object's", `${at}/db?constructor=1`, "constructor"],
    ["a query that is none", `${at}/db?${hidden}`, "key=value"],
    ["an unknown channel_binding", `${at}/db?channel_binding=${hidden}`, "channel_binding must be one of"],
    ["an unknown sslnegotiation", `${at}/db?sslnegotiation=${hidden}`, "sslnegotiation must be one of"],
    ["a port that is none", `postgresql://me:${hidden}@db.example:${hidden}/db`, "port"],
    ["port 0", `postgresql://me:${hidden}@db.example:0/db`, "port"],
    ["a port above 65535", `${at}/db?port=65536`, "port"],
    ["several hosts", `postgresql://me:${hidden}@one:1,two:2/db`, "several hosts"],
    ["several hosts in a key", `postgresql://me:${hidden}@/db?host=one,two`, "several hosts"],
    ["another scheme", `mysql://me:${hidden}@db.example/db`, "malformed"],
    ["no URL", hidden, "malformed"],
    ["an @ too many", `postgresql://me:${hidden}@x@db.example/db`, "%40"],
    ["malformed percent-encoding of the password", `postgresql://me:${hidden}%zz@db.example/db`, "percent-encoding"],
    ["malformed percent-encoding of a key", `${at}/db?application_name=%e0%a4`, "percent-encoding"],
    ["a NUL", `postgresql://me:${hidden}%00@db.example/db`, "NUL"],
    ["brackets around a name", `postgresql://me:${hidden}@[db.example]/db`, "IPv6"],
    ["a connect_timeout that is none", `${at}/db?connect_timeout=${hidden}`, "connect_timeout"],
    ["a file that is not there", `${at}/db?sslrootcert=/nowhere/${hidden}`, "sslrootcert"],
    [
      "the system's authorities without verification of the host",
      `${at}/db?sslrootcert=system&sslmode=verify-ca`,
      "verify-full"
    ],
    ["TLS over a unix socket", `postgresql://me:${hidden}@/db?host=/tmp&sslmode=require`, "unix socket"],
    ["direct negotiation without TLS", `${at}/db?sslmode=disable&sslnegotiation=direct`, "direct"],
    ["a certificate without its key", `${at}/db?sslcert=${import.meta.filename}`, "both cert and key"]
  ])("case 7: %s in the URL is a ConfigError that does not repeat the URL", ([, url, words]) =>
    Effect.gen(function*() {
      const error = yield* unusable({ url: Redacted.make(url) })
      assert.include(error.message, words)
      assert.notInclude(inspect(error, { depth: null, showHidden: true }), hidden)
    }))

  const wrong: Readonly<Record<string, readonly [PgTransport.Options, string]>> = {
    "port 0": [{ port: 0 }, "port"],
    "a port with a fraction": [{ port: 1.5 }, "port"],
    "an empty host": [{ host: "" }, "host"],
    "several hosts": [{ host: "one,two" }, "several hosts"],
    "host and path": [{ host: "localhost", path: "/tmp/x" }, "not both"],
    "an empty path": [{ path: "" }, "path"],
    "no time": [{ connectTimeout: 0 }, "connectTimeout"],
    "direct negotiation where TLS is off by default": [
      { host: "localhost", tls: { negotiation: "direct" } },
      "tls.mode"
    ],
    "an authority where TLS is off by default": [{ host: "127.0.0.1", tls: { ca: "x" } }, "tls.mode"],
    "a key that is none": [{ tls: { mode: "verify-full", cert: "x", key: "y" } }, "cannot be read"],
    "a key without its certificate": [{ tls: { mode: "verify-full", key: "y" } }, "both cert and key"],
    "TLS over a unix socket": [{ path: "/tmp/x", tls: { mode: "insecure" } }, "unix socket"],
    "iterations that are none": [{ scramIterations: { min: 10, max: 9 } }, "scramIterations"]
  }
  for (const [name, [options, words]] of Object.entries(wrong)) {
    it.live(`${name} among the options is a ConfigError`, () =>
      Effect.gen(function*() {
        assert.include((yield* unusable(options)).message, words)
      }))
  }

  it.live("words that only untyped callers can misspell are refused, not taken for the weakest", () =>
    Effect.gen(function*() {
      for (
        const [options, words] of [
          [{ tls: { mode: "verify_full" } }, "tls.mode"],
          [{ tls: { negotiation: "Direct" } }, "tls.negotiation"],
          [{ channelBinding: "required" }, "channelBinding"],
          [{ allowLegacyAuth: ["plaintext"] }, "allowLegacyAuth"]
        ] as const
      ) assert.include((yield* unusable(untyped(options))).message, words)
    }))

  it.live("case 7: channel_binding=require in the URL is honoured", () =>
    Effect.scoped(Effect.gen(function*() {
      const text = `postgresql://by_scram@127.0.0.1:${server.port}/postgres?channel_binding=require`
      const url = Redacted.make(text)
      assertAuth(yield* refusal({ username: "by_scram", url, password }), "BindingUnavailable")
      yield* server.present(good)
      const session = yield* login({ username: "by_scram", url, password, tls: secured().tls })
      assert.isTrue(session.bound)
      // An option beside the URL wins.
      const other = yield* login({ username: "by_scram", url, password, channelBinding: "prefer" })
      assert.isFalse(other.bound)
    })))

  it.live("the URL's keys for TLS are honoured, and its files are read", () =>
    Effect.scoped(Effect.gen(function*() {
      const directory = yield* Effect.acquireRelease(
        Effect.sync(() => mkdtempSync(join(tmpdir(), "restante-"))),
        (made) => Effect.sync(() => rmSync(made, { recursive: true }))
      )
      const file = (name: string, content: string) => {
        writeFileSync(join(directory, name), content)
        return encodeURIComponent(join(directory, name))
      }
      const mine = yield* Effect.promise(() => ca.issue({ commonName: "by_certificate" }))
      yield* server.present(good, ca.cert)
      const url = (role: string, query: string) =>
        Redacted.make(
          `postgresql://${role}:${encodeURIComponent(secret)}@localhost:${server.port}/postgres?sslrootcert=${
            file("ca", ca.cert)
          }&${query}`
        )
      for (const mode of ["require", "verify-ca", "verify-full"]) {
        const session = yield* login({ username: "by_scram", url: url("by_scram", `sslmode=${mode}`) })
        assert.isTrue(session.bound)
      }
      const direct = url("by_scram", "sslmode=require&sslnegotiation=direct&channel_binding=disable")
      assert.strictEqual((yield* login({ username: "by_scram", url: direct })).method, "scram-sha-256")
      const certified = url(
        "by_certificate",
        `sslmode=verify-full&sslcert=${file("cert", mine.cert)}&sslkey=${file("key", mine.key)}`
      )
      assert.strictEqual((yield* login({ username: "by_certificate", url: certified })).method, "trust")

      // `require` means `verify-full`.
      const elsewhere = yield* Effect.promise(() =>
        ca.issue({ commonName: "db.example", names: [{ type: "dns", value: "db.example" }] })
      )
      yield* server.present(elsewhere)
      const reason = yield* refusal({ username: "by_scram", url: url("by_scram", "sslmode=require") })
      assert.instanceOf(reason, PgTransport.TlsError)
      const chain = yield* login({ username: "by_scram", url: url("by_scram", "sslmode=verify-ca") })
      assert.isTrue(chain.bound)
    })))

  it.live("an option beside the URL wins over it", () =>
    Effect.gen(function*() {
      const url = Redacted.make(`postgresql://nobody:wrong@db.invalid:1/nowhere?connect_timeout=1&sslmode=verify-full`)
      const session = yield* login({ ...plain(), url, connectTimeout: "10 seconds", tls: { mode: "disable" } })
      assert.deepStrictEqual(session.address, { host: server.host, port: server.port })
    }))

  it.live("user, database, application name, options and an IPv6 address are taken from the URL", () =>
    Effect.scoped(Effect.gen(function*() {
      const recorder = yield* Recorder.make(server, { host: "::1", port: 0 })
      const url = Redacted.make(
        `postgres://by%5Fscram:${encodeURIComponent(secret)}@[::1]:${recorder.port}/post%67res`
          + "?application_name=a+b%20c&options=-c%20work_mem%3D5MB"
      )
      const [row] = yield* Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        return yield* sql`select current_user::text as "user", current_database()::text as database,
                                 current_setting('application_name') as name, current_setting('work_mem') as memory`
      }).pipe(Effect.provide(PgTransport.layer({ url })))
      // A plus is a plus, as libpq has it.
      assert.deepStrictEqual(row, { user: "by_scram", database: "postgres", name: "a+b c", memory: "5MB" })
    })))
})

describe("the time it takes to connect", () => {
  const soon = { connectRetry: Schedule.spaced("20 millis") }

  it.live("case 12: a server that is down for a while is reached by retry, with the password asked for at every attempt", () =>
    Effect.gen(function*() {
      yield* server.server.stop
      const { counted, password: given } = counting(Effect.orDie(server.server.restart))
      const session = yield* login({ ...plain(), password: given, connectTimeout: "60 seconds" })
      assert.strictEqual(session.method, "scram-sha-256")
      assert.strictEqual(counted.times, 3)
    }))

  it.live("case 12: a server that stays down is Unreachable, with the number of attempts and the last problem", () =>
    Effect.gen(function*() {
      yield* server.server.stop
      const { counted, password: given } = counting()
      const reason = yield* refusal({ ...plain(), ...soon, password: given, connectTimeout: "500 millis" }).pipe(
        Effect.ensuring(Effect.orDie(server.server.restart))
      )
      assert.instanceOf(reason, PgTransport.Unreachable)
      assert.isAbove(reason.attempts, 1)
      assert.strictEqual(reason.attempts, counted.times)
      assert.include(reason.problem, "connection refused")
      assert.strictEqual(reason.address, `127.0.0.1:${server.port}`)
    }))

  it.live("case 12: by default the time between attempts doubles from 100 ms", () =>
    Effect.gen(function*() {
      const fake = yield* Effect.scoped(Fake.make(() => Promise.resolve()))
      const { counted, password: given } = counting()
      const reason = yield* refusal({ host: fake.host, port: fake.port, password: given, connectTimeout: "2 seconds" })
      assert.instanceOf(reason, PgTransport.Unreachable)
      // At 0, 100, 300, 700, 1500 ms, with a jitter of a fifth. A busy machine makes fewer, none makes more.
      assert.isAtLeast(counted.times, 2)
      assert.isAtMost(counted.times, 6)
    }))

  it.live("too many clients: tried again, and Unreachable with the code if that lasts", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      yield* sql`alter role by_scram connection limit 0`
      const { counted, password: given } = counting(Effect.orDie(sql`alter role by_scram connection limit -1`))
      yield* login({ ...plain(), ...soon, password: given })
      assert.strictEqual(counted.times, 3)

      yield* sql`alter role by_scram connection limit 0`
      const error = yield* Effect.flip(login({ ...plain(), ...soon, connectTimeout: "500 millis" })).pipe(
        Effect.ensuring(Effect.orDie(sql`alter role by_scram connection limit -1`))
      )
      assert.instanceOf(error.reason, PgTransport.Unreachable)
      assert.strictEqual(error.reason.sqlstate, "53300")
      assert.include(error.cause, { code: "53300" })
    }).pipe(Effect.provide(PgClient.layer({ url: server.server.url }))))

  it.live("a server that starts up (57P03) and one that resets the connection are tried again", () =>
    Effect.scoped(Effect.gen(function*() {
      let connections = 0
      const fake = yield* Fake.make(async (peer) => {
        connections++
        if (connections === 1) {
          peer.socket.resetAndDestroy()
          return
        }
        await peer.startup()
        if (connections === 2) peer.socket.end(Fake.error("57P03", "the database system is starting up"))
        else if (connections === 3) peer.socket.end()
        else peer.send(...Fake.greeting)
      })
      const { counted, password: given } = counting()
      const session = yield* login({
        host: fake.host,
        port: fake.port,
        password: given,
        ...soon,
        allowLegacyAuth: ["trust"]
      })
      assert.strictEqual(session.pid, 4711)
      assert.strictEqual(counted.times, 4)
    })))

  it.live("a schedule that ends leaves the last problem", () =>
    Effect.gen(function*() {
      const fake = yield* Effect.scoped(Fake.make(() => Promise.resolve()))
      const reason = yield* refusal({ host: fake.host, port: fake.port, connectRetry: Schedule.recurs(2) })
      assert.instanceOf(reason, PgTransport.Unreachable)
      assert.strictEqual(reason.attempts, 3)
      assert.strictEqual(reason.problem, "connection refused")
    }))

  it.live("attempts that were repeated are counted", () =>
    Effect.gen(function*() {
      const fake = yield* Effect.scoped(Fake.make(() => Promise.resolve()))
      yield* refusal({ host: fake.host, port: fake.port, connectRetry: Schedule.recurs(2) })
      assert.strictEqual(yield* counted("connect_retries"), 2)
      yield* login(plain())
      assert.strictEqual(yield* counted("connect_retries"), 2)
    }).pipe(ownMetrics))

  it.live("what repeating does not mend is tried once", () =>
    Effect.gen(function*() {
      const rejected = counting()
      const wrongPassword = Effect.as(rejected.password, Redacted.make("wrong horse"))
      assertAuth(yield* refusal({ ...plain(), ...soon, password: wrongPassword }), "Rejected")
      assert.strictEqual(rejected.counted.times, 1)

      const unknown = counting()
      const reason = yield* refusal({ ...plain(), ...soon, password: unknown.password, database: "nowhere" })
      assert.instanceOf(reason, PgTransport.Refused)
      assert.strictEqual(reason.sqlstate, "3D000")
      assert.strictEqual(unknown.counted.times, 1)

      const nameless = counting()
      const noHost = yield* refusal({
        ...plain(),
        ...soon,
        host: "nowhere.invalid",
        password: nameless.password,
        tls: { mode: "disable" }
      })
      assert.instanceOf(noHost, PgTransport.Unreachable)
      assert.match(noHost.problem, /unknown host|name service/)
      assert.strictEqual(nameless.counted.times, 1)
    }))

  it.live("connectTimeout also bounds a silent server, and a password that does not come", () =>
    Effect.gen(function*() {
      const { peers, reason } = yield* refusalBy((peer) => peer.closed, { connectTimeout: "100 millis" })
      assert.instanceOf(reason, PgTransport.Unreachable)
      assert.include(reason.problem, "100ms")
      assert.strictEqual(reason.attempts, 1)
      yield* Effect.promise(() => peers[0]?.closed ?? Promise.resolve())

      const late = yield* refusal({ ...plain(), password: Effect.never, connectTimeout: "100 millis" })
      assert.instanceOf(late, PgTransport.Unreachable)
    }))

  it.live("the URL's connect_timeout is in seconds, and 0 is without end", () =>
    Effect.scoped(Effect.gen(function*() {
      const fake = yield* Fake.make((peer) => peer.closed)
      const url = Redacted.make(`postgresql://${fake.host}:${fake.port}/db?connect_timeout=1`)
      const reason = yield* refusal({ url })
      assert.instanceOf(reason, PgTransport.Unreachable)
      assert.include(reason.problem, Duration.format(Duration.seconds(1)))
      const endless = Redacted.make(`postgresql://by_scram@${server.host}:${server.port}/postgres?connect_timeout=0`)
      assert.strictEqual((yield* login({ username: "by_scram", url: endless, password })).method, "scram-sha-256")
    })))

  it.live("interruption closes the socket at every stage, and leaves no timer", () =>
    Effect.scoped(Effect.gen(function*() {
      const tls = { mode: "verify-full", ca: ca.cert } as const
      const stages: ReadonlyArray<readonly [(peer: Fake.Peer) => Promise<unknown>, PgTransport.Options]> = [
        [(peer) => peer.sslRequest(), { tls }],
        [async (peer) => {
          await peer.sslRequest()
          peer.send(Buffer.from("S"))
          await peer.take(1)
        }, { tls }],
        [(peer) => peer.take(1), { tls: { ...tls, negotiation: "direct" } }],
        [afterTls(good, challenge), { tls }],
        [(peer) => peer.startup(), {}],
        [afterStartup(challenge), {}],
        [afterStartup((peer) => Promise.resolve(peer.send(...Fake.greeting.slice(0, 3)))), {}]
      ]
      const before = timers()
      for (const [stage, options] of stages) {
        const fake = yield* Fake.make(stage)
        const { host, port } = fake
        const fiber = yield* Effect.forkChild(login({ host, port, password, allowLegacyAuth: ["trust"], ...options }))
        yield* eventually("the stage", () => fake.played.length === 1)
        yield* Fiber.interrupt(fiber)
        yield* Effect.promise(() => fake.peers[0]?.closed ?? Promise.resolve())
      }
      yield* eventually("no timer more than before", () => timers() <= before)
    })))

  it.live("interruption during the wait between attempts ends the attempts", () =>
    Effect.gen(function*() {
      const fake = yield* Effect.scoped(Fake.make(() => Promise.resolve()))
      const { counted, password: given } = counting()
      const fiber = yield* Effect.forkChild(
        login({ host: fake.host, port: fake.port, password: given, connectRetry: Schedule.spaced("1 hour") })
      )
      yield* eventually("the first attempt", () => counted.times === 1)
      const exit = yield* Effect.andThen(Fiber.interrupt(fiber), Fiber.await(fiber))
      assert.isTrue(Exit.hasInterrupts(exit))
      assert.strictEqual(counted.times, 1)
    }))
})

const onTransport = <A, E>(use: Effect.Effect<A, E, PgClient.PgClient | PgTransport.PgTransport>) =>
  Effect.suspend(() => Effect.provide(use, PgTransport.layer({ ...plain(), maxConnections: 1 })))

describe("counters", () => {
  it.live("sessions that were destroyed", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const { destroy } = yield* PgTransport.PgTransport
      const [row] = yield* sql<{ readonly pid: number }>`select pg_backend_pid() as pid`
      assert.isTrue(yield* destroy(row?.pid ?? 0))
      assert.strictEqual(yield* counted("destroyed_sessions"), 1)
    }).pipe(onTransport, ownMetrics))

  it.live("notices that nobody had read when they were dropped", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      yield* sql.unsafe("do $$ begin for i in 1..300 loop raise notice '%', i; end loop; end $$")
      assert.strictEqual(yield* counted("dropped_notices"), 300 - 256)
    }).pipe(onTransport, ownMetrics))
})

describe("the password", () => {
  it.live("case 8: a rotated password works on reconnect, and is asked for once per attempt", () =>
    Effect.gen(function*() {
      const owner = yield* PgClient.PgClient
      yield* owner.unsafe("create role by_rotation login password 'first'")
      let current = "first"
      let times = 0
      const given = Effect.sync(() => {
        times++
        return Redacted.make(current)
      })
      yield* Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        const transport = yield* PgTransport.PgTransport
        const pid = Effect.map(
          sql<{ readonly pid: number }>`select pg_backend_pid() as pid`,
          ([row]) => row?.pid ?? 0
        )
        const first = yield* pid
        yield* owner.unsafe("alter role by_rotation password 'second'")
        current = "second"
        assert.isTrue(yield* transport.destroy(first))
        const second = yield* Effect.retry(pid, { times: 5 })
        assert.notStrictEqual(second, first)
        assert.strictEqual(times, 2)
      }).pipe(Effect.provide(PgTransport.layer({ ...plain("by_rotation"), password: given, maxConnections: 1 })))
      yield* owner.unsafe("drop role by_rotation")
    }).pipe(Effect.scoped, Effect.provide(PgClient.layer({ url: server.server.url }))))

  it.live("one with a NUL is a ConfigError, and nothing is connected", () =>
    Effect.scoped(Effect.gen(function*() {
      const fake = yield* Fake.make((peer) => peer.closed)
      const given = Redacted.make("nul\0nul")
      for (const some of [given, Effect.succeed(given)]) {
        const reason = yield* refusal({ host: fake.host, port: fake.port, password: some })
        assert.instanceOf(reason, PgTransport.ConfigError)
      }
      assert.lengthOf(fake.peers, 0)
    })))

  it.live("case 48: no error tells it, in any form", () =>
    Effect.gen(function*() {
      yield* server.present(good)
      const word = "hunter2-hunter2"
      const given = Redacted.make(word)
      const url = Redacted.make(`postgresql://by_scram:${word}@127.0.0.1:${server.port}/postgres`)
      const scram = (options: Omit<Fake.Scram, "password">) =>
        Fake.make(
          afterStartup((peer) => Fake.scram(peer, { password: word, mechanisms: ["SCRAM-SHA-256"], ...options }))
        )
      const failures: Array<unknown> = []
      const note = (effect: Effect.Effect<unknown, unknown>) =>
        Effect.map(Effect.flip(effect), (error) => {
          failures.push(error)
        })
      yield* note(login({ username: "by_scram", url }))
      yield* note(login({ ...plain(), password: given }))
      yield* note(login({ ...plain(), password: Effect.succeed(given) }))
      yield* note(login({ ...plain(), password: Redacted.make(`${word}\0`) }))
      for (const role of ["by_md5", "by_cleartext"]) {
        yield* note(login({ ...plain(role), password: given }))
        yield* note(login({ ...plain(role), password: given, allowLegacyAuth: ["md5", "cleartext"] }))
      }
      yield* note(login({ ...secured(), password: given, tls: { mode: "verify-full" } }))
      for (const options of [{ final: () => "v=AAAA" }, { final: () => "e=other-error" }, { salt: Buffer.alloc(0) }]) {
        const fake = yield* scram(options)
        yield* note(login({ host: fake.host, port: fake.port, password: given }))
      }
      yield* note(Effect.scoped(PgTransport.make({ url: Redacted.make(`${Redacted.value(url)}?sslmode=prefer`) })))
      // As the client's own user sees it, SqlError and all.
      yield* note(Effect.provide(
        Effect.flatMap(PgClient.PgClient, (sql) => sql`select 1`),
        PgTransport.layer({ username: "by_scram", url })
      ))
      assert.lengthOf(failures, 14)
      for (const failure of failures) {
        const told = [String(failure), JSON.stringify(failure), inspect(failure, { depth: null, showHidden: true })]
        for (const text of told) assert.notInclude(text, word)
      }
    }).pipe(Effect.scoped))
})
