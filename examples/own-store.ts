/**
 * `node examples/own-store.ts`: the conformance suite on a store of your own. This one is the memory store with an audit that
 * counts what was accepted; a second one has a mistake in it, and the suite says which.
 */
import { MsgStoreCases } from "@restante/conformance"
import { Console, Context, Effect, Layer, Option } from "effect"
import { MsgStore } from "restante"

/** A store made of another one: all its operations, some of them with something around them. */
const around = (
  change: (store: MsgStore.MsgStore["Service"]) => Partial<MsgStore.MsgStore["Service"]>
): MsgStoreCases.Constructor =>
(limits) =>
  Layer.effect(
    MsgStore.MsgStore,
    Effect.map(Layer.build(MsgStore.layerMemory(limits)), (context) => {
      const store = Context.get(context, MsgStore.MsgStore)
      return { ...store, ...change(store) }
    })
  )

let accepted = 0

const audited = around((store) => ({
  write: (target, message) =>
    Effect.tap(store.write(target, message), (outcome) =>
      Effect.sync(() => {
        if (outcome._tag === "Accepted") accepted++
      }))
}))

/** Takes the head whatever its id: a reader that lost an answer and repeats its acknowledgement loses a message. */
const careless = around((store) => ({
  acknowledge: (recipientId) =>
    Effect.flatMap(
      store.peek(recipientId),
      Option.match({
        onNone: () => Effect.succeedNone,
        onSome: (head) => store.acknowledge(recipientId, head.id)
      })
    )
}))

const judge = Effect.fn("judge")(function*(name: string, store: MsgStoreCases.Constructor) {
  const report = yield* MsgStoreCases.run(store, {}, { histories: 200, seed: "example" })
  const [first] = report.failed
  yield* Console.log(
    `${name}: ${report.passed.length} cases passed, ${report.failed.length} failed, ${report.skipped.length} do not apply` +
      (first === undefined ? "" : `\nthe first that failed:\n${first.failure.message}`)
  )
})

const program = Effect.gen(function*() {
  yield* judge("audited", audited)
  yield* Console.log(`${accepted} messages were accepted meanwhile`)
  yield* judge("careless", careless)
})

await Effect.runPromise(program)
