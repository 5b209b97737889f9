// `MsgStoreSuite` is not here: it loads vitest, and this module can be loaded by any program.
export * as MsgStoreCases from "./MsgStoreCases.ts"
export * as MsgStoreModel from "./MsgStoreModel.ts"
