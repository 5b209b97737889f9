/**
 * COPY's binary format (PostgreSQL manual, "COPY", "Binary Format"), written and read by hand: a record of an import or export
 * costs about a microsecond, of which decoding by Schema would make ten.
 */

/** "PGCOPY\n\377\r\n\0", no flags, no extension. */
const header = Buffer.from("5047434f50590aff0d0a000000000000000000", "hex")
const trailer = 2

/** Writes rows into one buffer, whose size has to be known: see `rowSize`. */
export class Writer {
  readonly #buffer: Buffer
  #at: number

  /** `size` is the sum of all rows. */
  constructor(size: number) {
    this.#buffer = Buffer.allocUnsafe(header.length + size + trailer)
    this.#at = header.copy(this.#buffer)
  }

  /** Begins a row. */
  row(columns: number): void {
    this.#at = this.#buffer.writeInt16BE(columns, this.#at)
  }

  int8(value: bigint): void {
    this.#at = this.#buffer.writeInt32BE(8, this.#at)
    this.#at = this.#buffer.writeBigInt64BE(value, this.#at)
  }

  /** A number that is not negative and at most 2^53 - 1. */
  int8Number(value: number): void {
    this.#at = this.#buffer.writeInt32BE(8, this.#at)
    this.#at = this.#buffer.writeUInt32BE(Math.floor(value / 0x1_0000_0000), this.#at)
    this.#at = this.#buffer.writeUInt32BE(value % 0x1_0000_0000, this.#at)
  }

  bool(value: boolean): void {
    this.#at = this.#buffer.writeInt32BE(1, this.#at)
    this.#at = this.#buffer.writeUInt8(value ? 1 : 0, this.#at)
  }

  bytea(value: Uint8Array): void {
    this.#at = this.#buffer.writeInt32BE(value.length, this.#at)
    this.#buffer.set(value, this.#at)
    this.#at += value.length
  }

  /** Bytes given as base64url. */
  id(value: string): void {
    const length = this.#buffer.write(value, this.#at + 4, "base64url")
    this.#buffer.writeInt32BE(length, this.#at)
    this.#at += 4 + length
  }

  /** The whole input of a COPY. */
  end(): Uint8Array {
    this.#at = this.#buffer.writeInt16BE(-1, this.#at)
    return this.#buffer.subarray(0, this.#at)
  }
}

/** What a row of so many columns takes whose values have so many bytes. */
export const rowSize = (columns: number, bytes: number): number => 2 + 4 * columns + bytes

/** Reads the rows of a whole output. Values are read in the order of the columns. */
export class Reader {
  readonly #buffer: Buffer
  #at = header.length

  constructor(bytes: Uint8Array) {
    this.#buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  /** Begins the next row; false at the end. */
  row(): boolean {
    const columns = this.#buffer.readInt16BE(this.#at)
    this.#at += 2
    return columns !== -1
  }

  /** Where a value is and how long; undefined for NULL. */
  #value(): number | undefined {
    const length = this.#buffer.readInt32BE(this.#at)
    this.#at += 4
    if (length === -1) return undefined
    this.#at += length
    return length
  }

  int8(): bigint | null {
    return this.#value() === undefined ? null : this.#buffer.readBigInt64BE(this.#at - 8)
  }

  int4(): number | null {
    return this.#value() === undefined ? null : this.#buffer.readInt32BE(this.#at - 4)
  }

  bool(): boolean | null {
    return this.#value() === undefined ? null : this.#buffer[this.#at - 1] === 1
  }

  /** A view, not a copy. */
  bytea(): Uint8Array | null {
    const length = this.#value()
    return length === undefined ? null : this.#buffer.subarray(this.#at - length, this.#at)
  }

  text(): string | null {
    const length = this.#value()
    return length === undefined ? null : this.#buffer.toString("utf8", this.#at - length, this.#at)
  }
}
