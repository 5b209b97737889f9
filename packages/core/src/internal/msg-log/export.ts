/** A store as the bytes of a log, page by page. */
import { Array as Arr, Effect, Stream } from "effect"
import type { ExportOptions } from "../../MessageLog.ts"
import type { LogRecord, MsgStoreDriver } from "../../MsgStoreDriver.ts"
import type { MsgStoreError } from "../../MsgStoreError.ts"
import type { Codec } from "./codec.ts"
import { maxPageRecords } from "./codec.ts"
import * as Output from "./output.ts"

export const exportLog = (
  driver: Pick<MsgStoreDriver, "exportLog">,
  codec: Codec,
  maxBytes: number,
  onProgress: ExportOptions["onProgress"]
): Stream.Stream<Uint8Array, MsgStoreError> =>
  Stream.suspend(() => {
    const { frame } = codec
    const output = Output.make()
    let queues = 0
    let entries = 0

    const encodePage = (page: ReadonlyArray<LogRecord>): Array<Uint8Array> => {
      for (const record of page) {
        if (record._tag === "Queue") queues++
        else entries++
        codec.encode(output, record)
      }
      return output.take()
    }

    const pages = driver.exportLog({ limit: maxPageRecords, maxBytes }).pipe(Stream.mapEffect((page) => {
      const bytes = encodePage(page)
      return onProgress === undefined ? Effect.succeed(bytes) : Effect.as(onProgress({ queues, entries }), bytes)
    }))
    const bytes = Stream.flattenArray(Stream.filter(pages, Arr.isArrayNonEmpty))
    if (frame === undefined) return bytes
    const part = (encode: () => void) =>
      Stream.suspend(() => {
        encode()
        return Stream.fromIterable(output.take())
      })
    return part(() => frame.encodeHeader(output)).pipe(
      Stream.concat(bytes),
      Stream.concat(part(() => frame.encodeEnd(output, queues, entries)))
    )
  })
