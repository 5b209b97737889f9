import * as MsgStoreHistories from "../../MsgStoreHistories.ts"
import { group, test } from "./case.ts"
import { compareHistories, historyLimits } from "./history.ts"

export const model = group("J Against the model", [
  test("random histories of operations on several queues are answered as the reference model answers them", [
    "87",
    "4.2",
    "8.5",
    "I2",
    "I3",
    "I4",
    "I6",
    "I12"
  ], function*({ histories, openEmpty }) {
    // The token of a concurrent history.
    if (histories.replay !== undefined && MsgStoreHistories.isToken(histories.replay)) return
    // Histories compare exports, which show everything that is stored.
    const store = yield* openEmpty(historyLimits)
    yield* compareHistories(store, histories)
  }),

  test("random histories of operations on a whole store are answered as the reference model answers them", [
    "87",
    "4.9",
    "4.11",
    "4.13",
    "4.14"
  ], function*({ histories, openEmpty }) {
    // The token of a concurrent history.
    if (histories.replay !== undefined && MsgStoreHistories.isToken(histories.replay)) return
    const store = yield* openEmpty(historyLimits)
    yield* compareHistories(store, histories, true)
  }, { emptyStorage: true })
])
