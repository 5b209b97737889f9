import { MsgStoreModel } from "@restante/conformance"
import { ofModel, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "counts every live queue as visited",
  caughtBy: ["51", "50"],
  caughtByHistories: true,
  layer: ofModel(
    class extends MsgStoreModel.MsgStoreModel {
      override *expireAll(before: number) {
        const live = this.inOrder().filter((queue) => !queue.deleted)
        let expired = 0
        for (const { recipientId } of live) {
          const answer = this.deleteExpired(recipientId, before)
          if ("success" in answer) expired += answer.success
        }
        yield { visited: live.length, expired, skipped: 0, failed: 0 }
      }
    }
  )
}
