/**
 * Reading and writing PostgreSQL's binary forms. A `Reader` never leaves the field it was made for, and both report what
 * is wrong by throwing a `CodecError`, which `codec` turns into a Result: the driver expects codecs that do not throw.
 */
import { Result } from "effect"
import { PgTypes } from "../driver.ts"

/**
 * Ends the reading or writing of a value. The text says what was expected and never quotes the value: errors end up in
 * logs.
 */
export const refuse = (problem: string): never => {
  throw new PgTypes.CodecError({ message: problem })
}

const utf8Decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
const utf8Encoder = new TextEncoder()

/** Reads the `size` bytes at `offset`, most significant byte first. Reading beyond them is refused. */
export class Reader {
  readonly name: string
  private readonly bytesOf: Uint8Array
  private readonly view: DataView
  private at = 0

  constructor(name: string, bytes: Uint8Array, offset = 0, size = bytes.length - offset) {
    this.name = name
    if (offset < 0 || size < 0 || offset + size > bytes.length) {
      refuse(`${name}: the field ends beyond the message`)
    }
    this.bytesOf = bytes.subarray(offset, offset + size)
    this.view = new DataView(this.bytesOf.buffer, this.bytesOf.byteOffset, size)
  }

  /** How many bytes are not read yet. */
  get remaining(): number {
    return this.view.byteLength - this.at
  }

  private take(size: number): number {
    if (size < 0 || size > this.remaining) {
      refuse(`${this.name}: ${size} bytes expected, ${this.remaining} left`)
    }
    const start = this.at
    this.at += size
    return start
  }

  uint8(): number {
    return this.view.getUint8(this.take(1))
  }
  int16(): number {
    return this.view.getInt16(this.take(2))
  }
  uint16(): number {
    return this.view.getUint16(this.take(2))
  }
  int32(): number {
    return this.view.getInt32(this.take(4))
  }
  uint32(): number {
    return this.view.getUint32(this.take(4))
  }
  int64(): bigint {
    return this.view.getBigInt64(this.take(8))
  }
  uint64(): bigint {
    return this.view.getBigUint64(this.take(8))
  }
  float4(): number {
    return this.view.getFloat32(this.take(4))
  }
  float8(): number {
    return this.view.getFloat64(this.take(8))
  }

  /** The next `size` bytes, as a view of the message: copy what outlives the read. All that is left without a size. */
  bytes(size = this.remaining): Uint8Array {
    const start = this.take(size)
    return this.bytesOf.subarray(start, start + size)
  }

  /** The next `size` bytes as text; all that is left without a size. */
  utf8(size = this.remaining): string {
    try {
      return utf8Decoder.decode(this.bytes(size))
    } catch (error) {
      return error instanceof PgTypes.CodecError ? refuse(error.message) : refuse(`${this.name}: invalid UTF-8`)
    }
  }

  /** Text that ends with a zero byte. */
  cstring(): string {
    const end = this.bytesOf.indexOf(0, this.at)
    if (end < 0) refuse(`${this.name}: unterminated text`)
    const text = this.utf8(end - this.at)
    this.at = end + 1
    return text
  }

  /** A number of things to follow, each of at least `least` bytes: checked against what is left, before anything is allocated. */
  count(least: number, count = this.int32()): number {
    if (count < 0 || count * least > this.remaining) {
      refuse(`${this.name}: ${count} parts expected, ${this.remaining} bytes left`)
    }
    return count
  }

  /** A value of another type behind its length of 32 bits; null where the length is -1. */
  sized<A>(inner: PgTypes.Codec<A>): A | null {
    const size = this.int32()
    return size === -1 ? null : this.value(inner, size)
  }

  /** A value of another type in the next `size` bytes; in all that is left without a size. */
  value<A>(inner: PgTypes.Codec<A>, size = this.remaining): A {
    const start = this.take(size)
    const decoded = inner.read === undefined
      ? inner.decode(this.bytesOf.subarray(start, start + size))
      : inner.read(this.bytesOf, start, size)
    if (Result.isFailure(decoded)) throw decoded.failure
    return decoded.success
  }

  /** Refuses bytes that nobody read. */
  end(): void {
    if (this.remaining > 0) refuse(`${this.name}: ${this.remaining} bytes too many`)
  }
}

/** Collects bytes, most significant first. Numbers are not checked: whoever writes them says what range is meant. */
export class Writer {
  private buffer = new Uint8Array(64)
  private view = new DataView(this.buffer.buffer)
  private at = 0

  private grow(size: number): number {
    const needed = this.at + size
    if (needed > this.buffer.length) {
      const larger = new Uint8Array(Math.max(needed, this.buffer.length * 2))
      larger.set(this.buffer.subarray(0, this.at))
      this.buffer = larger
      this.view = new DataView(larger.buffer)
    }
    const start = this.at
    this.at = needed
    return start
  }

  uint8(value: number): this {
    const at = this.grow(1)
    this.view.setUint8(at, value)
    return this
  }
  int16(value: number): this {
    const at = this.grow(2)
    this.view.setInt16(at, value)
    return this
  }
  uint16(value: number): this {
    const at = this.grow(2)
    this.view.setUint16(at, value)
    return this
  }
  int32(value: number): this {
    const at = this.grow(4)
    this.view.setInt32(at, value)
    return this
  }
  uint32(value: number): this {
    const at = this.grow(4)
    this.view.setUint32(at, value)
    return this
  }
  int64(value: bigint): this {
    const at = this.grow(8)
    this.view.setBigInt64(at, value)
    return this
  }
  uint64(value: bigint): this {
    const at = this.grow(8)
    this.view.setBigUint64(at, value)
    return this
  }
  float4(value: number): this {
    const at = this.grow(4)
    this.view.setFloat32(at, value)
    return this
  }
  float8(value: number): this {
    const at = this.grow(8)
    this.view.setFloat64(at, value)
    return this
  }

  bytes(value: Uint8Array): this {
    const at = this.grow(value.length)
    this.buffer.set(value, at)
    return this
  }

  /** How many bytes have been written. */
  get size(): number {
    return this.at
  }

  /**
   * Text without an end mark. A zero character is refused: no type of PostgreSQL holds one. So is half a surrogate pair,
   * which would arrive as another character.
   */
  utf8(text: string): this {
    if (text.includes("\0")) refuse("text holds a zero character, which PostgreSQL does not store")
    if (!text.isWellFormed()) refuse("text holds half of a surrogate pair, which UTF-8 cannot express")
    return this.bytes(utf8Encoder.encode(text))
  }

  cstring(text: string): this {
    return this.utf8(text).uint8(0)
  }

  /** What `write` writes, behind its length of 32 bits. */
  framed(write: () => void): this {
    const at = this.grow(4)
    write()
    this.view.setInt32(at, this.at - at - 4)
    return this
  }

  /** A value of another type behind its length of 32 bits; null has the length -1. */
  sized<A>(inner: PgTypes.Codec<A>, value: A | null): this {
    return value === null ? this.int32(-1) : this.framed(() => this.value(inner, value))
  }

  /** A value of another type, without its length. */
  value<A>(inner: PgTypes.Codec<A>, value: A): this {
    const encoded = inner.encode(value)
    if (Result.isFailure(encoded)) throw encoded.failure
    return this.bytes(encoded.success)
  }

  /** A copy of what was written. */
  finish(): Uint8Array {
    return this.buffer.slice(0, this.at)
  }
}

/** What was thrown, as a refusal. Anything but one comes from a value of the wrong shape. */
export const refused = (name: string, error: unknown): Result.Result<never, PgTypes.CodecError> =>
  Result.fail(
    error instanceof PgTypes.CodecError
      ? error
      : new PgTypes.CodecError({ message: `${name}: the value has the wrong shape` })
  )

/** Runs what may refuse. */
export const attempt = <A>(name: string, evaluate: () => A): Result.Result<A, PgTypes.CodecError> => {
  try {
    return Result.succeed(evaluate())
  } catch (error) {
    return refused(name, error)
  }
}

/**
 * A codec of the two directions. `read` gets exactly the field and must use all of it; `write` must refuse (`refuse`) a
 * value that the type cannot hold, because numbers are otherwise cut to size.
 */
export const codec = <A>(
  name: string,
  read: (reader: Reader) => A,
  write: (writer: Writer, value: A) => void
): PgTypes.Codec<A> => {
  const decode = (bytes: Uint8Array, offset: number, size: number) =>
    attempt(name, () => {
      const reader = new Reader(name, bytes, offset, size)
      const value = read(reader)
      reader.end()
      return value
    })
  return {
    encode: (value) =>
      attempt(name, () => {
        const writer = new Writer()
        write(writer, value)
        return writer.finish()
      }),
    decode: (bytes) => decode(bytes, 0, bytes.length),
    read: decode
  }
}
