import { ofMemory, type WrongStore } from "./WrongStore.ts"

export const store: WrongStore = {
  mistake: "takes the time from the machine, not from the clock of the caller",
  caughtBy: ["14"],
  caughtByHistories: true,
  layer: ofMemory((memory) => ({
    write: (target, message) => memory.write(target, { ...message, timestamp: message.timestamp ?? Date.now() })
  }))
}
