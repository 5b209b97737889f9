import { MsgStoreModel } from "@restante/conformance"
import { Effect } from "effect"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "dies when the head of a deleted queue is acknowledged",
  caughtBy: ["7", "57"],
  caughtByHistories: true,
  layer: ofModel(MsgStoreModel.MsgStoreModel, {
    replaces: (driver) => ({
      acknowledge: (recipientId, messageId) =>
        Effect.catchTag(
          driver.acknowledge(recipientId, messageId),
          "QueueNotFound",
          () => Effect.die(new Error("the row is gone"))
        )
    })
  })
}
