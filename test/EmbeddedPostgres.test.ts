import { assert, describe, it } from "@effect/vitest"
import { EmbeddedPostgres, PostgresServer } from "@restante/embedded-postgres"
import { ConfigProvider, Effect, Exit, Fiber, Option, Redacted, Scope } from "effect"
import { spawn } from "node:child_process"
import * as crypto from "node:crypto"
import { chmodSync, chownSync, existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { createRequire, syncBuiltinESMExports } from "node:module"
import { createServer } from "node:net"
import { dirname, join, relative } from "node:path"
import { links, unpacked } from "./fixtures/embedded-postgres/native.ts"
import {
  alive,
  eventually,
  folder,
  homesIn,
  isRoot,
  mentioning,
  ownTmp,
  postmasterPid,
  query,
  session
} from "./fixtures/embedded-postgres/probe.ts"

const limit = 60_000

/** The reason for which a start is refused. */
const refusal = (options: EmbeddedPostgres.Options) =>
  Effect.map(Effect.flip(Effect.scoped(EmbeddedPostgres.make(options))), (error) => {
    assert.instanceOf(error, EmbeddedPostgres.EmbeddedPostgresError)
    return error.reason
  })

/** A program of somebody else on a port. */
const stranger = Effect.acquireRelease(
  Effect.callback<{ readonly port: number; readonly close: () => void }>((resume) => {
    const server = createServer()
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      const port = address !== null && typeof address === "object" ? address.port : 0
      resume(Effect.succeed({ port, close: () => server.close() }))
    })
  }),
  ({ close }) => Effect.sync(close)
)

/** What a server with these options thinks its settings are. */
const settingsOf = (options: EmbeddedPostgres.Options) =>
  Effect.scoped(
    Effect.flatMap(EmbeddedPostgres.make(options), ({ url }) =>
      query(url, (sql) =>
        sql`select current_setting('fsync') as fsync, current_setting('full_page_writes') as pages,
                 current_setting('synchronous_commit') as commit, current_setting('work_mem') as memory`))
  )

/** The ids of the machine's System V shared memory segments; nothing where the system has no such list. */
const segments = (): ReadonlyArray<string | undefined> =>
  existsSync("/proc/sysvipc/shm")
    ? readFileSync("/proc/sysvipc/shm", "utf8").split("\n").map((row) => row.trim().split(/\s+/)[1])
    : []

describe("EmbeddedPostgres", () => {
  describe("a running server", () => {
    it.live(
      "is PostgreSQL 18 in UTF-8 with a superuser, a password and the loopback interface only",
      () =>
        Effect.gen(function*() {
          const server = yield* EmbeddedPostgres.EmbeddedPostgres
          const [row] = yield* query(server.url, (sql) =>
            sql<Record<string, unknown>>`
            select current_setting('server_version_num')::int4 / 10000 as major,
                   current_database()::text as database,
                   (select rolsuper from pg_roles where rolname = current_user) as superuser,
                   (select rolpassword like 'SCRAM-SHA-256$%' from pg_authid where rolname = current_user) as scram,
                   (select concat_ws(' ', pg_encoding_to_char(encoding), datlocprovider, datlocale)
                      from pg_database where datname = current_database()) as locale,
                   current_setting('listen_addresses') as addresses,
                   current_setting('unix_socket_directories') as sockets,
                   host(inet_server_addr()) as address,
                   inet_server_port() as port`)
          assert.deepStrictEqual(row, {
            major: 18,
            database: "postgres",
            superuser: true,
            scram: true,
            locale: "UTF8 b C.UTF-8",
            addresses: "127.0.0.1",
            sockets: "",
            address: server.host,
            port: server.port
          })
          assert.match(server.version, /^18\.\d+$/)
        }).pipe(Effect.provide(EmbeddedPostgres.layer())),
      limit
    )

    it.live("lets nobody in without the password, and shows it to nobody", () =>
      Effect.gen(function*() {
        const server = yield* EmbeddedPostgres.make()
        const wrong = new URL(Redacted.value(server.url))
        const { password } = wrong
        wrong.password = "guess"
        const error = yield* Effect.flip(query(Redacted.make(wrong.href), (sql) => sql`select 1`))
        assert.strictEqual(error.reason._tag, "AuthenticationError")
        assert.notInclude(JSON.stringify(server), password)
        assert.strictEqual(statSync(join(server.dataDirectory, "..", "password")).mode & 0o777, 0o600)
        assert.deepStrictEqual(mentioning(password), [])
      }), limit)

    it.live("addresses databases of any name", () =>
      Effect.gen(function*() {
        const server = yield* EmbeddedPostgres.make()
        const name = "a \"quoted\"/über?#%41 name"
        yield* query(server.url, (sql) => sql.unsafe(`create database "${name.replaceAll("\"", "\"\"")}"`))
        const [row] = yield* query(server.databaseUrl(name), (sql) => sql`select current_database()::text as name`)
        assert.deepStrictEqual(row, { name })
      }), limit)

    it.live("flushes to disk only if it is durable, and always waits for its own log", () =>
      Effect.gen(function*() {
        const directory = join(yield* folder, "named")
        assert.deepStrictEqual(yield* settingsOf({ settings: { work_mem: "5MB" } }), [
          { fsync: "off", pages: "on", commit: "on", memory: "5MB" }
        ])
        assert.deepStrictEqual(yield* settingsOf({ directory }), [
          { fsync: "on", pages: "on", commit: "on", memory: "4MB" }
        ])
        assert.deepStrictEqual(yield* settingsOf({ durable: true }), [
          { fsync: "on", pages: "on", commit: "on", memory: "4MB" }
        ])
      }), limit)

    it.effect("does not wait for the caller's clock", () =>
      Effect.gen(function*() {
        const server = yield* EmbeddedPostgres.make()
        yield* server.kill
        yield* server.restart
        assert.isTrue(alive(postmasterPid(server.dataDirectory)))
      }), limit)

    it.live("starts several at once, each with a port and a password of its own", () =>
      Effect.gen(function*() {
        const servers = yield* Effect.all(Array.from({ length: 4 }, () => EmbeddedPostgres.make()), {
          concurrency: "unbounded"
        })
        assert.strictEqual(new Set(servers.map(({ port }) => port)).size, 4)
        assert.strictEqual(new Set(servers.map(({ url }) => new URL(Redacted.value(url)).password)).size, 4)
        yield* Effect.forEach(servers, ({ url }) => query(url, (sql) => sql`select 1`), { concurrency: "unbounded" })
      }), limit)
  })

  describe("the end of the scope", () => {
    it.live(
      "stops the server and removes the temporary directory, also with sessions open",
      () =>
        Effect.gen(function*() {
          const tmp = yield* ownTmp
          const scope = yield* Scope.make()
          const server = yield* Scope.provide(EmbeddedPostgres.make(), scope)
          const sql = yield* session(server.url)
          const busy = yield* Effect.forkChild(Effect.exit(sql`select pg_sleep(600)`))
          yield* eventually("the session", () => mentioning("SELECT").length > 0)
          const pid = postmasterPid(server.dataDirectory)
          assert.strictEqual(homesIn(tmp).length, 1)
          yield* Scope.close(scope, Exit.void)
          assert.isFalse(alive(pid))
          assert.deepStrictEqual(homesIn(tmp), [])
          assert.deepStrictEqual(mentioning(tmp), [])
          assert.isTrue(Exit.isFailure(yield* Fiber.join(busy)))
        }),
      limit
    )

    it.live("leaves nothing behind after a kill, shared memory included", () =>
      Effect.gen(function*() {
        const tmp = yield* ownTmp
        const scope = yield* Scope.make()
        const server = yield* Scope.provide(EmbeddedPostgres.make(), scope)
        const line = readFileSync(join(server.dataDirectory, "postmaster.pid"), "utf8").split("\n")[6] ?? ""
        const id = line.trim().split(/\s+/)[1] ?? ""
        yield* server.kill
        yield* Scope.close(scope, Exit.void)
        assert.notInclude(segments(), id)
        assert.deepStrictEqual(homesIn(tmp), [])
        assert.deepStrictEqual(mentioning(tmp), [])
      }), limit)

    it.live("comes before any later restart", () =>
      Effect.gen(function*() {
        const tmp = yield* ownTmp
        const server = yield* Effect.scoped(EmbeddedPostgres.make())
        assert.strictEqual((yield* Effect.flip(server.restart)).reason._tag, "Closed")
        yield* server.kill
        yield* server.stop
        assert.deepStrictEqual(mentioning(tmp), [])
      }), limit)

    it.live("is the same for a start that is interrupted half-way", () =>
      Effect.gen(function*() {
        const tmp = yield* ownTmp
        const fiber = yield* Effect.forkChild(Effect.scoped(EmbeddedPostgres.make()))
        yield* eventually("initdb", () => mentioning(tmp).some((line) => line.includes("--pgdata")))
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual(homesIn(tmp), [])
        yield* eventually("the end of initdb", () => mentioning(tmp).length === 0)

        const later = yield* Effect.forkChild(Effect.scoped(Effect.andThen(EmbeddedPostgres.make(), Effect.never)))
        yield* eventually("the server", () => mentioning(tmp).some((line) => line.includes("fsync=off")))
        yield* Fiber.interrupt(later)
        assert.deepStrictEqual(homesIn(tmp), [])
        yield* eventually("the end of the server", () => mentioning(tmp).length === 0)
      }), limit)
  })

  describe("kill, stop and restart", () => {
    it.live(
      "a kill ends busy backends too, and what was acknowledged is there afterwards",
      () =>
        Effect.gen(function*() {
          const server = yield* EmbeddedPostgres.make()
          yield* query(
            server.url,
            (sql) =>
              Effect.andThen(
                sql`create table letter (id int4)`,
                sql`insert into letter select generate_series(1, 1000)`
              )
          )
          const sql = yield* session(server.url)
          const [backend] = yield* sql<{ readonly pid: number }>`select pg_backend_pid() as pid`
          // It never waits for anything, so it would not notice by itself that the server is gone.
          const busy = yield* Effect.forkChild(Effect.exit(sql`select count(*) from generate_series(1, 1e12::int8)`))
          const postmaster = postmasterPid(server.dataDirectory)
          yield* server.kill
          assert.isFalse(alive(postmaster))
          assert.isFalse(alive(backend?.pid ?? 0))
          assert.isTrue(Exit.isFailure(yield* Fiber.join(busy)))

          yield* server.restart
          assert.deepStrictEqual(
            yield* query(server.url, (sql) => sql`select count(*)::int4 as letters from letter`),
            [{ letters: 1000 }]
          )
        }),
      limit
    )

    it.live("a restart of a running server keeps port, password and data", () =>
      Effect.gen(function*() {
        const server = yield* EmbeddedPostgres.make()
        yield* query(server.url, (sql) => sql`create table letter (id int4)`)
        const before = postmasterPid(server.dataDirectory)
        yield* server.restart
        assert.notStrictEqual(postmasterPid(server.dataDirectory), before)
        yield* query(server.url, (sql) => sql`select id from letter`)
      }), limit)

    it.live("happen one after the other, and doing them twice does no harm", () =>
      Effect.gen(function*() {
        const server = yield* EmbeddedPostgres.make()
        const { kill, restart, stop } = server
        yield* Effect.all([restart, kill, kill, restart, stop, stop, restart, restart, kill, restart], {
          concurrency: "unbounded"
        })
        yield* query(server.url, (sql) => sql`select 1`)
        assert.strictEqual(mentioning(server.dataDirectory).length, 1)
      }), limit)

    it.live("an interrupted restart leaves no server, and the next one works", () =>
      Effect.gen(function*() {
        const server = yield* EmbeddedPostgres.make()
        yield* server.kill
        const fiber = yield* Effect.forkChild(server.restart)
        yield* eventually("the server", () => mentioning(`-D ${server.dataDirectory}`).length > 0)
        yield* Fiber.interrupt(fiber)
        yield* server.restart
        yield* query(server.url, (sql) => sql`select 1`)
        assert.strictEqual(mentioning(`-D ${server.dataDirectory}`).length, 1)
      }), limit)

    it.live("a restart brings back a server that died by itself", () =>
      Effect.gen(function*() {
        const server = yield* EmbeddedPostgres.make()
        const pid = postmasterPid(server.dataDirectory)
        process.kill(pid, "SIGKILL")
        yield* eventually("its end", () => !alive(pid))
        yield* server.restart
        yield* query(server.url, (sql) => sql`select 1`)
      }), limit)

    it.live(
      "a restart fails if a stranger has taken the port, and works when it has gone",
      () =>
        Effect.gen(function*() {
          const server = yield* EmbeddedPostgres.make()
          yield* server.stop
          const other = createServer()
          yield* Effect.callback<void>((resume) => {
            other.listen(server.port, "127.0.0.1", () => resume(Effect.void))
          })
          assert.strictEqual((yield* Effect.flip(server.restart)).reason._tag, "PortTaken")
          yield* Effect.callback<void>((resume) => {
            other.close(() => resume(Effect.void))
          })
          yield* server.restart
          yield* query(server.url, (sql) => sql`select 1`)
        }),
      limit
    )
  })

  describe("ports", () => {
    it.live("a fixed one is used", () =>
      Effect.gen(function*() {
        const { port } = yield* Effect.scoped(stranger)
        const server = yield* EmbeddedPostgres.make({ port })
        assert.strictEqual(server.port, port)
      }), limit)

    it.live("a fixed one in use is refused, with the server's own words", () =>
      Effect.gen(function*() {
        const { port } = yield* stranger
        const reason = yield* refusal({ port })
        assert.strictEqual(reason._tag, "PortTaken")
        assert.include(reason.output, "Address already in use")
        assert.include(reason.message, String(port))
      }), limit)

    it.live("a free one is found even if the first choice is taken", () =>
      Effect.gen(function*() {
        const { port } = yield* stranger
        const builtin: typeof crypto = createRequire(import.meta.url)("node:crypto")
        const real = builtin.randomInt
        let choices = 0
        yield* Effect.acquireRelease(
          Effect.sync(() => {
            Object.assign(builtin, {
              randomInt: (min: number, max: number) => choices++ < 2 ? port : real(min, max)
            })
            syncBuiltinESMExports()
          }),
          () =>
            Effect.sync(() => {
              Object.assign(builtin, { randomInt: real })
              syncBuiltinESMExports()
            })
        )
        const server = yield* EmbeddedPostgres.make()
        assert.strictEqual(choices, 3)
        assert.notStrictEqual(server.port, port)
        yield* query(server.url, (sql) => sql`select 1`)
      }), limit)
  })

  describe("a named directory", () => {
    it.live("keeps data and password", () =>
      Effect.gen(function*() {
        const directory = join(yield* folder, "new", "named")
        const first = yield* Effect.scoped(Effect.gen(function*() {
          const server = yield* EmbeddedPostgres.make({ directory })
          yield* query(server.url, (sql) => sql`create table letter (id int4)`)
          return new URL(Redacted.value(server.url)).password
        }))
        const server = yield* EmbeddedPostgres.make({ directory })
        assert.strictEqual(new URL(Redacted.value(server.url)).password, first)
        assert.strictEqual(server.dataDirectory, join(directory, "data"))
        yield* query(server.url, (sql) => sql`select id from letter`)
      }), limit)

    it.live("with a live server is refused, and that server goes on", () =>
      Effect.gen(function*() {
        const directory = yield* folder
        const server = yield* EmbeddedPostgres.make({ directory })
        const sql = yield* session(server.url)
        const log = join(directory, "server.log")
        const before = statSync(log).size
        assert.strictEqual((yield* refusal({ directory }))._tag, "DirectoryInUse")
        assert.strictEqual(statSync(log).size, before)
        yield* sql`select 1`
      }), limit)

    it.live("goes to one of two that open it at the same time", () =>
      Effect.gen(function*() {
        const directory = yield* folder
        const exits = yield* Effect.all(
          Array.from({ length: 2 }, () => Effect.exit(EmbeddedPostgres.make({ directory }))),
          { concurrency: "unbounded" }
        )
        const servers = exits.filter(Exit.isSuccess)
        assert.strictEqual(servers.length, 1)
        for (const { value } of servers) yield* query(value.url, (sql) => sql`select 1`)
        for (const exit of exits.filter(Exit.isFailure)) {
          assert.include(String(exit.cause), "Another PostgreSQL server runs")
        }
      }), limit)

    it.live("with the postmaster.pid of a dead server is opened", () =>
      Effect.gen(function*() {
        const directory = yield* folder
        yield* Effect.scoped(EmbeddedPostgres.make({ directory }))
        const pid = yield* Effect.callback<number>((resume) => {
          const child = spawn("true")
          child.once("exit", () => resume(Effect.succeed(child.pid ?? 0)))
        })
        const data = join(directory, "data")
        writeFileSync(join(data, "postmaster.pid"), `${pid}\n${data}\n1700000000\n15432\n\n127.0.0.1\n\nready   \n`)
        const server = yield* EmbeddedPostgres.make({ directory })
        yield* query(server.url, (sql) => sql`select 1`)
      }), limit)

    it.live("with an empty postmaster.pid, as a crash can leave it, is opened", () =>
      Effect.gen(function*() {
        const directory = yield* folder
        yield* Effect.scoped(EmbeddedPostgres.make({ directory }))
        writeFileSync(join(directory, "data", "postmaster.pid"), "")
        const server = yield* EmbeddedPostgres.make({ directory })
        yield* query(server.url, (sql) => sql`select 1`)
      }), limit)

    // PostgreSQL alone refuses this one for ever: some process of the same user answers to that pid.
    it.live(
      "with a postmaster.pid whose pid another program has now is opened, and the program goes on",
      () =>
        Effect.gen(function*() {
          const directory = yield* folder
          yield* Effect.scoped(EmbeddedPostgres.make({ directory }))
          const data = join(directory, "data")
          const owner = statSync(data)
          const other = yield* Effect.acquireRelease(
            Effect.sync(() => spawn("sleep", ["600"], isRoot ? { uid: owner.uid, gid: owner.gid } : {})),
            (child) => Effect.sync(() => child.kill("SIGKILL"))
          )
          writeFileSync(
            join(data, "postmaster.pid"),
            `${other.pid}\n${data}\n1700000000\n15432\n\n127.0.0.1\n\nready   \n`
          )
          const server = yield* EmbeddedPostgres.make({ directory })
          yield* query(server.url, (sql) => sql`select 1`)
          assert.isTrue(alive(other.pid ?? 0))
        }),
      limit
    )

    it.live("of another major version is refused", () =>
      Effect.gen(function*() {
        const directory = yield* folder
        yield* Effect.scoped(EmbeddedPostgres.make({ directory }))
        writeFileSync(join(directory, "data", "PG_VERSION"), "17\n")
        const reason = yield* refusal({ directory })
        assert.strictEqual(reason._tag, "DirectoryVersionMismatch")
        assert.include(reason.message, "17")
      }), limit)

    it.live("with other files in it is refused, and they stay", () =>
      Effect.gen(function*() {
        const directory = yield* folder
        writeFileSync(join(directory, "thesis.txt"), "irreplaceable")
        const reason = yield* refusal({ directory })
        assert.strictEqual(reason._tag, "DirectoryNotEmpty")
        assert.include(reason.output, "thesis.txt")
        assert.isTrue(existsSync(join(directory, "thesis.txt")))
      }), limit)

    it.live("without its password, or with data that are none, is refused", () =>
      Effect.gen(function*() {
        const directory = yield* folder
        yield* Effect.scoped(EmbeddedPostgres.make({ directory }))
        rmSync(join(directory, "password"))
        assert.strictEqual((yield* refusal({ directory }))._tag, "NotADatabase")
        rmSync(join(directory, "data", "PG_VERSION"))
        assert.strictEqual((yield* refusal({ directory }))._tag, "NotADatabase")
      }), limit)

    it.live("that is a file is refused", () =>
      Effect.gen(function*() {
        const directory = join(yield* folder, "file")
        writeFileSync(directory, "")
        assert.strictEqual((yield* refusal({ directory }))._tag, "DirectoryUnusable")
      }), limit)

    it.live.skipIf(!isRoot)("of somebody else is refused", () =>
      Effect.gen(function*() {
        const directory = yield* folder
        chownSync(directory, 54_321, 54_321)
        const reason = yield* refusal({ directory })
        assert.strictEqual(reason._tag, "DirectoryNotOurs")
        assert.include(reason.message, "54321")
      }), limit)

    it.live.skipIf(!isRoot)(
      "below a folder that the server's user may not search is refused",
      () =>
        Effect.gen(function*() {
          const closed = yield* folder
          chmodSync(closed, 0o700)
          const reason = yield* refusal({ directory: join(closed, "named") })
          assert.strictEqual(reason._tag, "DirectoryUnusable")
          assert.include(reason.output, "As the user")
        }),
      limit
    )

    it.live.skipIf(!isRoot)("of root's own with mode 0700 is opened", () =>
      Effect.gen(function*() {
        const directory = yield* folder
        chmodSync(directory, 0o700)
        const server = yield* EmbeddedPostgres.make({ directory })
        yield* query(server.url, (sql) => sql`select 1`)
      }), limit)
  })

  describe("refusals", () => {
    it.live("settings that are not the caller's, in any spelling", () =>
      Effect.gen(function*() {
        for (const setting of ["synchronous_commit", "Synchronous-Commit", "fsync", "PORT", "work_mem=1 -c fsync"]) {
          const reason = yield* refusal({ settings: { [setting]: "off" } })
          assert.strictEqual(reason._tag, "SettingReserved")
        }
      }), limit)

    it.live("a setting that the server does not like comes with its words", () =>
      Effect.gen(function*() {
        const reason = yield* refusal({ settings: { shared_buffers: "plenty" } })
        assert.strictEqual(reason._tag, "StartFailed")
        assert.include(reason.output, "invalid value for parameter \"shared_buffers\": \"plenty\"")
      }), limit)

    it.live("a server that is not ready in time", () =>
      Effect.gen(function*() {
        const tmp = yield* ownTmp
        const reason = yield* refusal({ startTimeout: 0 })
        assert.strictEqual(reason._tag, "StartFailed")
        assert.include(reason.output, "not ready")
        assert.deepStrictEqual(homesIn(tmp), [])
        assert.deepStrictEqual(mentioning(tmp), [])
      }), limit)

    it.live.skipIf(!isRoot)("a user that does not exist", () =>
      Effect.gen(function*() {
        const reason = yield* refusal({ user: "no-such-user" })
        assert.strictEqual(reason._tag, "NoUnprivilegedUser")
        assert.include(reason.message, "no-such-user")
      }), limit)

    it.live("binaries that are not there", () =>
      Effect.gen(function*() {
        const binaries = join(yield* folder, "nowhere")
        const reason = yield* refusal({ binaries })
        assert.strictEqual(reason._tag, "BinariesMissing")
        assert.include(reason.message, binaries)
        assert.include(reason.output, "ENOENT")
      }), limit)
  })
})

describe("binaries", () => {
  it.live("of any folder are used, also by a relative path", () =>
    Effect.gen(function*() {
      const binaries = relative(process.cwd(), yield* unpacked)
      const server = yield* EmbeddedPostgres.make({ binaries })
      yield* query(server.url, (sql) => sql`select 1`)
    }), limit)

  it.live("without their links are completed in place, by two at the same time", () =>
    Effect.gen(function*() {
      const tmp = yield* ownTmp
      const binaries = yield* unpacked
      yield* Effect.all([EmbeddedPostgres.make({ binaries }), EmbeddedPostgres.make({ binaries })], {
        concurrency: "unbounded"
      })
      for (const { target } of links) assert.isTrue(existsSync(join(binaries, "..", target)))
      assert.deepStrictEqual(copiesIn(tmp), [])
    }), limit)

  it.live.skipIf(!isRoot)(
    "that the server's user cannot reach run from a private copy, which is used again",
    () =>
      Effect.gen(function*() {
        const tmp = yield* ownTmp
        const binaries = yield* unpacked
        chmodSync(dirname(binaries), 0o700)
        const once = Effect.scoped(
          Effect.flatMap(EmbeddedPostgres.make({ binaries }), ({ url }) => query(url, (sql) => sql`select 1`))
        )
        yield* Effect.all([once, once], { concurrency: "unbounded" })
        const [name = "", ...more] = copiesIn(tmp)
        assert.deepStrictEqual(more, [])
        const copy = join(tmp, name)
        const before = statSync(copy)
        assert.strictEqual(before.mode & 0o022, 0)

        yield* once
        assert.strictEqual(statSync(copy).ino, before.ino)

        // As something that sweeps old files would leave it.
        rmSync(join(copy, "share", "postgresql"), { recursive: true })
        yield* once
        assert.deepStrictEqual(copiesIn(tmp), [name])

        // As somebody else could have prepared it.
        chmodSync(join(copy, "bin", "postgres"), 0o777)
        yield* once
        assert.strictEqual(statSync(join(copy, "bin", "postgres")).mode & 0o777, 0o755)

        chownSync(copy, 54_321, 54_321)
        const reason = yield* refusal({ binaries })
        assert.strictEqual(reason._tag, "BinariesUnusable")
        assert.include(reason.output, "54321")
      }),
    limit
  )

  it.live("that cannot be run are reported with the words of the system", () =>
    Effect.gen(function*() {
      yield* ownTmp
      const binaries = yield* unpacked
      writeFileSync(join(binaries, "bin", "postgres"), "#!/bin/sh\necho 'wrong libc' >&2\nexit 1\n")
      const reason = yield* refusal({ binaries })
      assert.strictEqual(reason._tag, "BinariesUnusable")
      assert.include(reason.output, "wrong libc")
    }), limit)

  it.live("whose initdb fails are reported with its words, and nothing is left", () =>
    Effect.gen(function*() {
      const tmp = yield* ownTmp
      const binaries = yield* unpacked
      writeFileSync(join(binaries, "bin", "initdb"), "#!/bin/sh\necho 'no room for initdb'\nexit 1\n")
      const directory = join(tmp, "named")
      const reason = yield* refusal({ binaries, directory })
      assert.strictEqual(reason._tag, "InitdbFailed")
      assert.include(reason.output, "no room for initdb")
      assert.isFalse(existsSync(join(directory, "data")))
      yield* Effect.scoped(EmbeddedPostgres.make({ directory }))
    }), limit)
})

const copiesIn = (tmp: string): ReadonlyArray<string> =>
  existsSync(tmp) ? readdirSync(tmp).filter((name) => name.startsWith("restante-postgres-binaries-")) : []

const withUrl = (url: string) =>
  Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromUnknown({ DATABASE_URL: url }))

describe("PostgresServer", () => {
  const built = Effect.scoped(Effect.provide(PostgresServer.PostgresServer, PostgresServer.layer(), { local: true }))

  it.live("is the server that DATABASE_URL names, and offers no way to kill it", () =>
    Effect.gen(function*() {
      const server = yield* withUrl("postgresql://me:secret@example.org:5433/mine?sslmode=require")(built)
      assert.isTrue(Option.isNone(server.embedded))
      assert.strictEqual(Redacted.value(server.url), "postgresql://me:secret@example.org:5433/mine?sslmode=require")
      assert.strictEqual(
        Redacted.value(server.databaseUrl("other")),
        "postgresql://me:secret@example.org:5433/other?sslmode=require"
      )
    }))

  it.live("is an embedded server if DATABASE_URL is empty", () =>
    Effect.gen(function*() {
      const server = yield* PostgresServer.PostgresServer
      assert.isTrue(Option.isSome(server.embedded))
      yield* query(server.databaseUrl("template1"), (sql) => sql`select 1`)
    }).pipe(Effect.provide(PostgresServer.layer()), withUrl("")), limit)

  it.live("refuses another kind of URL without repeating its password", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(withUrl("mysql://me:secret@example.org/mine")(built))
      assert.strictEqual(error._tag, "ConfigError")
      assert.notInclude(String(error), "secret")
    }))
})
