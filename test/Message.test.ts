/**
 * Ids and messages as values.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Result, Schema } from "effect"
import { Message, MessageId, MsgStore, RecipientId, SenderId } from "restante"

describe("ids", () => {
  it("their text form is unpadded base64url, and gives the bytes back", () => {
    const id = Result.getOrThrow(RecipientId.fromBytes(new Uint8Array([0, 255, 62, 63])))
    assert.strictEqual(id, "AP8-Pw")
    assert.deepStrictEqual(RecipientId.toBytes(id), new Uint8Array([0, 255, 62, 63]))
    assert.strictEqual(Result.getOrThrow(RecipientId.parse("AP8-Pw")), id)
  })

  it("have 1 to 64 bytes", () => {
    for (const length of [1, 2, 3, 63, 64]) assert.isTrue(Result.isSuccess(SenderId.fromBytes(new Uint8Array(length))))
    for (const length of [0, 65]) assert.isTrue(Result.isFailure(SenderId.fromBytes(new Uint8Array(length))))
  })

  it("have one text for each byte string, so that equal ids are equal strings", () => {
    // The last characters differ only in bits that no byte has.
    for (const text of ["AB", "AAB", "A", "AAAAA", "AA==", "A+", "A/", "A A", ""]) {
      assert.isTrue(Result.isFailure(MessageId.parse(text)), text)
    }
    for (const text of ["AA", "AAA", "AAAA", "AQ"]) assert.isTrue(Result.isSuccess(MessageId.parse(text)), text)
  })

  it("can be named in a program", () => {
    assert.strictEqual(new TextDecoder().decode(MessageId.toBytes(MessageId.named("order 17"))), "order 17")
    assert.throws(() => MessageId.named(""))
    assert.throws(() => MessageId.named("x".repeat(65)))
  })

  it("are drawn from 24 random bytes", () => {
    const ids = new Set(Array.from({ length: 1_000 }, () => SenderId.randomUnsafe()))
    assert.strictEqual(ids.size, 1_000)
    for (const id of ids) assert.strictEqual(SenderId.toBytes(id).length, 24)
  })

  it.effect("decode from untrusted text through their schema", () =>
    Effect.gen(function*() {
      const decode = Schema.decodeUnknownEffect(RecipientId.schema)
      assert.strictEqual(yield* decode("AQ"), RecipientId.named("\u0001"))
      for (const input of ["", "AB", 7, null]) yield* Effect.flip(decode(input))
    }))
})

describe("messages", () => {
  it.effect("carry text as UTF-8, byte order marks included", () =>
    Effect.gen(function*() {
      for (const text of ["", "grüß dich", "\ufeffmark", "line\r\nend"]) {
        assert.strictEqual(yield* Message.bodyText(Message.fromText(text)), text)
      }
      assert.strictEqual((yield* Effect.flip(Message.bodyText({ body: new Uint8Array([0xff]) })))._tag, "NotUtf8")
    }))

  it.effect("a Node Buffer may be reused after the write", () =>
    Effect.gen(function*() {
      const store = yield* MsgStore.MsgStore
      const { recipientId } = yield* store.createQueue()
      const buffer = Buffer.from("before")
      yield* store.write({ recipientId }, { body: buffer })
      buffer.fill("x")
      const [entry] = yield* store.peekBatch(recipientId, { limit: 1 })
      assert.strictEqual(yield* Message.bodyText(entry ?? assert.fail("no entry")), "before")
    }).pipe(Effect.provide(MsgStore.layerMemory())))

  it.effect("stored entries cross a boundary through their schema", () =>
    Effect.gen(function*() {
      const store = yield* MsgStore.MsgStore
      const { recipientId } = yield* store.createQueue({ quota: 1 })
      for (const name of ["m1", "m2"]) yield* store.write({ recipientId }, Message.fromText(name, { notify: true }))
      const codec = Schema.toCodecJson(Schema.Array(Message.Entry))
      const entries = yield* store.peekBatch(recipientId, { limit: 5 })
      const json = JSON.stringify(yield* Schema.encodeEffect(codec)(entries))
      assert.deepStrictEqual(yield* Schema.decodeUnknownEffect(codec)(JSON.parse(json)), entries)
    }).pipe(Effect.provide(MsgStore.layerMemory())))
})
