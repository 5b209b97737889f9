/**
 * `pnpm demo [FILE]`: relays a text through PostgreSQL, which is killed half way, and through memory, and compares.
 *
 * Read `demo/Relay.ts` first: it is the program. This file chooses the stores that it runs on.
 */
import { NodeFileSystem, NodeRuntime } from "@effect/platform-node"
import { PostgresServer } from "@restante/embedded-postgres"
import { PgMsgStore } from "@restante/postgres"
import { Config, Console, Context, Data, Deferred, Duration, Effect, Layer, Runtime } from "effect"
import { fileURLToPath } from "node:url"
import { MsgStore, RecipientId, SenderId } from "restante"
import * as Arguments from "./demo/Arguments.ts"
import * as DemoServer from "./demo/DemoServer.ts"
import { count, counted } from "./demo/Layout.ts"
import * as Paragraphs from "./demo/Paragraphs.ts"
import * as Relay from "./demo/Relay.ts"
import * as Report from "./demo/Report.ts"
import * as Story from "./demo/Story.ts"
import * as Tally from "./demo/Tally.ts"
import * as TextFile from "./demo/TextFile.ts"
import * as Transcript from "./demo/Transcript.ts"
import * as Witness from "./demo/Witness.ts"

const defaultText = fileURLToPath(new URL("data/persuasion.txt", import.meta.url))

/** Ends the demo with exit code 1. Its message is printed by `main`, so the runtime need not report it. */
class DemoFailed extends Data.TaggedError("DemoFailed")<{ readonly problem: string }> {
  override readonly [Runtime.errorReported] = false
  override get message(): string {
    return this.problem
  }
}

const people = [["Ada", "Ben"], ["Cleo", "Dan"], ["Eve", "Finn"]] as const

/** Who sends what to whom. The ids of a queue are secrets, so they are random; whoever has them can repeat every call. */
const routesFor = (paragraphs: ReadonlyArray<Paragraphs.Paragraph>) => {
  const shares = Paragraphs.deal(paragraphs, people.length)
  const shortest = Math.min(...shares.map((share) => share.length))
  // A short text gets a quota that it can reach.
  const quota = [8, 4].find((quota) => quota < shortest) ?? 2
  return people.map(([sender, recipient], i): Relay.Route => ({
    sender: { name: sender, id: SenderId.randomUnsafe() },
    recipient: { name: recipient, id: RecipientId.randomUnsafe() },
    quota,
    // A divisor of the quota: then no call is stored in part, and a repeated call finds all of it stored or nothing.
    batch: quota / 2,
    paragraphs: shares[i] ?? []
  }))
}

/** What happens to the server half way. */
const disturb = Effect.fnUntraced(function*(tally: Tally.Tally, story: Story.Story) {
  const { disturbance } = yield* DemoServer.DemoServer
  if (disturbance._tag === "Cut") {
    const cut = yield* disturbance.cut
    return yield* story.tell(
      `CUT: ${counted(cut, "connection")} of the demo ended by pg_terminate_backend, ` +
        "while senders and recipients work. They go on by repeating the calls that failed."
    )
  }
  const written = tally.sum("accepted")
  const read = tally.sum("acknowledged")
  yield* story.tell(
    "KILL: SIGKILL to the server, while senders and recipients work. " +
      `So far: ${counted(written, "paragraph")} written, ` +
      `${count(read)} of them read, the other ${count(written - read)} in the server and nowhere else.`
  )
  const [dying] = yield* Effect.timed(disturbance.kill)
  yield* story.tell(`All its processes are gone, ${milliseconds(dying)} after the signal. Now it is started again.`)
  const [starting] = yield* Effect.timed(disturbance.restart)
  yield* story.tell(
    `The server is up again: ${milliseconds(starting)}, recovery included. Senders and recipients go on by repeating ` +
      "the calls that failed."
  )
})

const milliseconds = (duration: Duration.Duration): string => `${Math.round(Duration.toMillis(duration))} ms`

type Program = ReturnType<typeof Relay.relay>

const onPostgres = Effect.fnUntraced(function*(
  program: Program,
  routes: ReadonlyArray<Relay.Route>,
  tally: Tally.Tally,
  story: Story.Story
) {
  const server = yield* Layer.build(DemoServer.layer)
  const { schema, url, version } = Context.get(server, DemoServer.DemoServer)
  yield* story.tell(`PostgreSQL ${version} is running and has the schema of the store. The relay begins.`)

  const half = Math.ceil(routes.reduce((sum, { paragraphs }) => sum + paragraphs.length, 0) / 2)
  const halfway = yield* Deferred.make<void>()
  const witness = Witness.layer(routes, (observation) => {
    tally.count(observation)
    return Effect.andThen(
      story.follow(observation),
      tally.sum("acknowledged") >= half ? Deferred.succeed(halfway, undefined) : Effect.void
    )
  })
  const store = Layer.provide(witness, PgMsgStore.layer({ url, schema }))
  const [duration, [deliveries]] = yield* Effect.timed(Effect.all([
    Effect.provide(program, store),
    Effect.andThen(Deferred.await(halfway), Effect.provideContext(disturb(tally, story), server))
  ], { concurrency: "unbounded" }))
  return { store: "PostgreSQL", deliveries, tally, seconds: Duration.toSeconds(duration) } satisfies Report.Run
})

const onMemory = Effect.fnUntraced(function*(program: Program, routes: ReadonlyArray<Relay.Route>) {
  const tally = Tally.make(routes)
  const witness = Witness.layer(routes, (observation) => Effect.sync(() => tally.count(observation)))
  const [duration, deliveries] = yield* Effect.timed(
    Effect.provide(program, Layer.provide(witness, MsgStore.layerMemory()))
  )
  return { store: "memory", deliveries, tally, seconds: Duration.toSeconds(duration) } satisfies Report.Run
})

/** The text that everybody received is the one that was sent, and the two stores did the same. */
const compare = Effect.fnUntraced(function*(text: TextFile.TextFile, durable: Report.Run, memory: Report.Run) {
  const sent = Transcript.sha256(text.bytes)
  for (const { deliveries, store } of [durable, memory]) {
    if (Transcript.sha256(Transcript.textOf(deliveries)) !== sent) {
      return yield* new DemoFailed({ problem: `the text received through ${store} is not the text that was sent` })
    }
  }
  const transcript = Transcript.ofDeliveries(durable.deliveries)
  const difference = Transcript.difference(transcript, Transcript.ofDeliveries(memory.deliveries))
  if (difference !== undefined) {
    return yield* new DemoFailed({ problem: `PostgreSQL and memory delivered different entries\n${difference}` })
  }
  const unlatched = durable.deliveries.find(({ entries, route }) =>
    route.paragraphs.length > route.quota && entries.every(({ kind }) => kind === "message")
  )
  if (unlatched !== undefined) {
    return yield* new DemoFailed({ problem: `the queue to ${unlatched.route.recipient.name} was never latched` })
  }
  return Report.verdict(text, sent, transcript.length)
})

const demo = Effect.fnUntraced(function*(title: string, path: string) {
  const text = yield* TextFile.read(path)
  const routes = routesFor(text.paragraphs)
  // One value, run twice: it asks for a MsgStore and does not know which it gets.
  const program = Relay.relay(routes)

  const given = (yield* Config.String("DATABASE_URL").pipe(Config.withDefault(""))) !== ""
  yield* Console.log(Report.heading(title, text, routes, given ? "cut off" : "killed"))
  yield* Console.log(`\n${given ? Report.givenServer : Report.ownServer}\n`)
  const tally = Tally.make(routes)
  const story = yield* Story.make(routes, tally)
  const durable = yield* Effect.scoped(onPostgres(program, routes, tally, story)).pipe(
    Effect.provide(PostgresServer.layer()),
    Effect.catchTag("ConfigError", () =>
      Effect.fail(
        new DemoFailed({
          problem:
            "DATABASE_URL is not the URL of a PostgreSQL server, such as postgresql://user:password@host:5432/database"
        })
      )),
    Effect.catchReason(
      "MsgStoreError",
      "Unavailable",
      () => Effect.fail(new DemoFailed({ problem: "the server did not answer for a minute, so the demo gave up" }))
    )
  )
  yield* Console.log(`\nWhat the clients saw\n\n${Report.clients(routes, durable.tally)}`)

  const memory = yield* onMemory(program, routes)
  yield* Console.log(`\nThe same program on both stores\n\n${Report.totals(durable, memory)}\n\n${Report.legend}`)
  yield* Console.log(`\n${yield* compare(text, durable, memory)}\n\ndemo: ok`)
})

const main = Effect.gen(function*() {
  // pnpm runs scripts in the folder of their package and tells where it was called.
  const directory = yield* Config.String("INIT_CWD").pipe(Config.withDefault(process.cwd()))
  const request = yield* Effect.fromResult(Arguments.parse(process.argv.slice(2), directory))
  yield* Arguments.Arguments.$match(request, {
    Help: () => Console.log(Arguments.usage),
    DefaultText: () => demo("Persuasion, by Jane Austen (1817)", defaultText),
    GivenText: ({ path }) => demo(path, path)
  })
}).pipe(
  Effect.provide(NodeFileSystem.layer),
  Effect.catch((error) =>
    Effect.andThen(Console.error(`demo: ${error.message}`), Effect.fail(new DemoFailed({ problem: error.message })))
  )
)

// A reader that has seen enough, such as `head`, closes the pipe. The demo goes on to its end, where it cleans up.
process.stdout.on("error", () => undefined)
NodeRuntime.runMain(main)
