import { Stream } from "effect"
import { ofMemory, type WrongStore } from "./WrongStore.ts"

const encoder = new TextEncoder()
const decoder = new TextDecoder()

export const store: WrongStore = {
  mistake: "rounds the seconds of a SimpleX log up",
  caughtBy: ["88", "8.1"],
  caughtByHistories: false,
  layer: ofMemory((memory) => ({
    exportLog: (options) =>
      options?.format !== "simplex-v3"
        ? memory.exportLog(options)
        : Stream.map(memory.exportLog(options), (bytes) =>
          encoder.encode(
            decoder.decode(bytes).replaceAll(
              /^(v3 \S+ \S+) (\d+)/gm,
              (_, start: string, seconds: string) => `${start} ${Number(seconds) + 1}`
            )
          ))
  }))
}
