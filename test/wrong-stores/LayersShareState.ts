import { Context, Effect, Layer, Scope } from "effect"
import { MsgStore } from "restante"
import type { WrongStore } from "./WrongStore.ts"

/** One store for the whole process, which is never closed. */
const shared = Effect.runSync(Effect.cached(
  Effect.map(
    Effect.flatMap(Scope.make(), (scope) => Layer.buildWithScope(MsgStore.layerMemory(), scope)),
    (context) => Context.get(context, MsgStore.MsgStore)
  )
))

export const store: WrongStore = {
  mistake: "lets all layers of a program share one store",
  caughtBy: ["76"],
  caughtByHistories: true,
  layer: () => Layer.effect(MsgStore.MsgStore, shared)
}
