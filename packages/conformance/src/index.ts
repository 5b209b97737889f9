// `MsgStoreSuite` is not here: it loads vitest, and this module can be loaded by any program.
export * as Linearizability from "./Linearizability.ts"
export * as MsgStoreCases from "./MsgStoreCases.ts"
export * as MsgStoreHistories from "./MsgStoreHistories.ts"
export * as MsgStoreModel from "./MsgStoreModel.ts"
