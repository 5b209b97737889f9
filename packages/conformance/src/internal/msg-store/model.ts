import { group, test } from "./case.ts"
import { compareHistories, historyLimits } from "./history.ts"

export const model = group("J Against the model", [
  test("random histories of operations on several queues are answered as the reference model answers them", [
    "87",
    "4.2",
    "I2",
    "I3",
    "I4",
    "I6",
    "I12"
  ], function*({ histories, open }) {
    const store = yield* open(historyLimits)
    yield* compareHistories(store, histories)
  })
])
