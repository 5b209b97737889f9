/**
 * A store that does what the store beneath it does, and tells what was called and answered. So the demo can say what
 * happens while the program that makes it happen knows nothing about it.
 */
import { Effect, Layer, Result } from "effect"
import type { InvalidArgument, MsgStoreError, Queue, RecipientId, SenderId } from "restante"
import { MsgStore } from "restante"
import * as Paragraphs from "./Paragraphs.ts"
import type { Route } from "./Relay.ts"

/** What became of one paragraph of a call. */
export interface Written {
  readonly number: number
  readonly outcome: MsgStore.WriteOutcome["_tag"]
}

export type Observation =
  | {
    readonly _tag: "Written"
    readonly route: Route
    readonly paragraphs: ReadonlyArray<Written>
  }
  /** A recipient got the answer that its message is acknowledged. */
  | { readonly _tag: "Acknowledged"; readonly route: Route }
  /** A recipient got the answer that the marker is acknowledged, and with it everything in the queue. */
  | { readonly _tag: "Emptied"; readonly route: Route }
  | {
    readonly _tag: "Failed"
    readonly client: string
    readonly reason: MsgStoreError.MsgStoreErrorReason["_tag"]
  }

const written = (
  result: Result.Result<MsgStore.WriteOutcome, MsgStore.WriteFailure>,
  item: MsgStore.WriteItem | undefined
): ReadonlyArray<Written> =>
  Result.isFailure(result) || item?.message.id === undefined
    ? []
    : [{ number: Paragraphs.numberOf(item.message.id), outcome: result.success._tag }]

const unremarkable = () => Effect.void

export const layer = (
  routes: ReadonlyArray<Route>,
  observe: (observation: Observation) => Effect.Effect<void>
): Layer.Layer<MsgStore.MsgStore, never, MsgStore.MsgStore> => {
  const watched = <A, E extends { readonly _tag: string }>(
    call: Effect.Effect<A, E | MsgStoreError.MsgStoreError>,
    client: string | undefined,
    answered: (answer: A) => Effect.Effect<void>
  ) =>
    client === undefined ? call : call.pipe(
      Effect.tap(answered),
      Effect.tapError((error) =>
        "reason" in error ? observe({ _tag: "Failed", client, reason: error.reason._tag }) : Effect.void
      )
    )

  return Layer.effect(
    MsgStore.MsgStore,
    Effect.map(MsgStore.MsgStore, (store) => {
      const bySender = new Map<string, Route>(routes.map((route) => [route.sender.id, route]))
      const byRecipient = new Map<string, Route>(routes.map((route) => [route.recipient.id, route]))

      type GetFailure = MsgStoreError.QueueNotFound | InvalidArgument | MsgStoreError.MsgStoreError
      // A function declaration, because only that can have overloads, one for each side of the queue.
      function getQueue(target: { readonly recipientId: RecipientId }): Effect.Effect<Queue.QueueRecord, GetFailure>
      function getQueue(target: { readonly senderId: SenderId }): Effect.Effect<Queue.SenderView, GetFailure>
      function getQueue(target: { readonly recipientId: RecipientId } | { readonly senderId: SenderId }) {
        return "recipientId" in target
          ? watched(store.getQueue(target), byRecipient.get(target.recipientId)?.recipient.name, unremarkable)
          : watched(store.getQueue(target), bySender.get(target.senderId)?.sender.name, unremarkable)
      }

      return MsgStore.MsgStore.of({
        ...store,
        getQueue,
        writeMany: (items) => {
          const asked = [...items]
          const target = asked[0]?.target
          const route = target !== undefined && "senderId" in target ? bySender.get(target.senderId) : undefined
          return watched(
            store.writeMany(asked),
            route?.sender.name,
            (results) =>
              route === undefined
                ? Effect.void
                : observe({
                  _tag: "Written",
                  route,
                  paragraphs: results.flatMap((result, i) => written(result, asked[i]))
                })
          )
        },
        peek: (recipientId) =>
          watched(store.peek(recipientId), byRecipient.get(recipientId)?.recipient.name, unremarkable),
        acknowledgeAndPeek: (recipientId, messageId) => {
          const route = byRecipient.get(recipientId)
          return watched(
            store.acknowledgeAndPeek(recipientId, messageId),
            route?.recipient.name,
            () => route === undefined ? Effect.void : observe({ _tag: "Acknowledged", route })
          )
        },
        acknowledgeThrough: (recipientId, through) => {
          const route = byRecipient.get(recipientId)
          return watched(
            store.acknowledgeThrough(recipientId, through),
            route?.recipient.name,
            () => route === undefined ? Effect.void : observe({ _tag: "Emptied", route })
          )
        }
      })
    })
  )
}
