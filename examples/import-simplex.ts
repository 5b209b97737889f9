/**
 * `node examples/import-simplex.ts [FILE]`: the messages of a SimpleX server, into a store. FILE is a text log of version 3;
 * without one it is `data/simplex.log`, whose last line was cut off.
 *
 * Such a log has no records of queues, and an import does not make them up: entries of a queue that does not exist are
 * rejected. Here a queue is created for each recipient id that occurs in the file.
 */
import { NodeFileSystem, NodeRuntime } from "@effect/platform-node"
import { Console, Effect, FileSystem, Result, Stream } from "effect"
import { fileURLToPath } from "node:url"
import { Message, MsgStore, RecipientId, SenderId } from "restante"

const path = process.argv[2] ?? fileURLToPath(new URL("data/simplex.log", import.meta.url))

const decoder = new TextDecoder()

const program = Effect.gen(function*() {
  const store = yield* MsgStore.MsgStore
  const files = yield* FileSystem.FileSystem

  const created = new Set<RecipientId>()
  yield* files.stream(path).pipe(
    Stream.decodeText(),
    Stream.splitLines,
    Stream.runForEach((line) => {
      const [version, text = ""] = line.split(" ")
      if (version !== "v3") return Effect.void
      const recipientId = Result.getOrUndefined(RecipientId.parse(text.replace(/=+$/, "")))
      if (recipientId === undefined || created.has(recipientId)) return Effect.void
      created.add(recipientId)
      // A sender id of its own making, so that creating the queue again is harmless.
      return store.createQueue({ recipientId, senderId: SenderId.named(`writer of ${recipientId}`.slice(0, 64)) })
    })
  )
  yield* Console.log(`${created.size} queues created`)

  const report = yield* store.importLog(files.stream(path), {
    format: "simplex-v3",
    rejects: ({ line, raw, reason }) =>
      Console.log(`line ${line} rejected, ${reason}: ${JSON.stringify(decoder.decode(raw.slice(0, 40)))}`)
  })
  yield* Console.log(
    `${report.lines} lines: ${report.messages} messages stored, ${report.duplicates} were there, ` +
      `${report.latchedQueues} queues latched`
  )

  for (const recipientId of created) {
    const entries = yield* Stream.runCollect(store.messages(recipientId))
    for (const entry of entries) {
      const time = new Date(entry.timestamp).toISOString()
      yield* Console.log(
        entry.kind === "quota" ? `  ${time} the writer was stopped here` : `  ${time} ${yield* Message.bodyText(entry)}`
      )
    }
  }

  const again = yield* store.importLog(files.stream(path), { format: "simplex-v3" })
  yield* Console.log(`imported once more: ${again.messages} messages stored, ${again.duplicates} were there`)
})

program.pipe(
  Effect.catchTag("PlatformError", (error) => Effect.fail(`${path} cannot be read: ${error.message}`)),
  Effect.tapError((problem) => Console.error(problem)),
  Effect.provide([MsgStore.layerMemory(), NodeFileSystem.layer]),
  NodeRuntime.runMain({ disableErrorReporting: true })
)
