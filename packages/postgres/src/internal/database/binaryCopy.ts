/**
 * COPY's binary format (PostgreSQL manual, "COPY", "Binary Format"), written and read by hand: a record of an import or export
 * costs about a microsecond, of which decoding by Schema would make ten.
 */

/** "PGCOPY\n\377\r\n\0", no flags, no extension: what rows begin with. */
export const header = Buffer.from("5047434f50590aff0d0a000000000000000000", "hex")

/** What they end with. */
export const trailer = Buffer.from([0xff, 0xff])

/**
 * Rows go into blocks of so many bytes. The allocator has larger ones made by the kernel page by page, each time anew, and for
 * messages of 1 KiB that takes longer than filling them.
 */
const blockSize = 65_536

/** A part of the memory of a writer. */
export interface Block {
  readonly bytes: Buffer
  readonly view: DataView
}

const block = (size: number): Block => {
  const bytes = Buffer.allocUnsafeSlow(size)
  return { bytes, view: new DataView(bytes.buffer) }
}

/** Writes rows, one value after another. */
export class Writer {
  /** Where it writes. */
  block: Block = block(0)
  at = 0
  #filled: Array<Block> = []
  readonly #free: Array<Block> = []

  /** Begins a new block, and gives those that were written to since the last call. */
  turn(): ReadonlyArray<Block> {
    const filled = this.#filled
    this.#filled = []
    this.block = block(0)
    this.at = 0
    return filled
  }

  /** Takes blocks back that nobody reads any more: new memory makes the garbage collector come by. */
  reuse(blocks: ReadonlyArray<Block>): void {
    for (const block of blocks) {
      if (block.bytes.length === blockSize) this.#free.push(block)
    }
  }

  /** Begins a row of so many columns, whose values have at most so many bytes; in another block if this one has no room. */
  row(columns: number, bytes: number): void {
    const size = 2 + 4 * columns + bytes
    if (this.at + size > this.block.bytes.length) {
      this.block = (size > blockSize ? undefined : this.#free.pop()) ?? block(Math.max(blockSize, size))
      this.#filled.push(this.block)
      this.at = 0
    }
    this.block.view.setInt16(this.at, columns)
    this.at += 2
  }

  int8(value: bigint): void {
    this.block.view.setInt32(this.at, 8)
    this.block.view.setBigInt64(this.at + 4, value)
    this.at += 12
  }

  /** A number that is not negative and at most 2^53 - 1. */
  int8Number(value: number): void {
    this.block.view.setInt32(this.at, 8)
    this.block.view.setUint32(this.at + 4, Math.floor(value / 0x1_0000_0000))
    this.block.view.setUint32(this.at + 8, value % 0x1_0000_0000)
    this.at += 12
  }

  bool(value: boolean): void {
    this.block.view.setInt32(this.at, 1)
    this.block.view.setUint8(this.at + 4, value ? 1 : 0)
    this.at += 5
  }

  bytea(value: Uint8Array): void {
    this.block.view.setInt32(this.at, value.length)
    this.block.bytes.set(value, this.at + 4)
    this.at += 4 + value.length
  }

  /** Bytes given as base64url. */
  id(value: string): void {
    const length = this.block.bytes.write(value, this.at + 4, "base64url")
    this.block.view.setInt32(this.at, length)
    this.at += 4 + length
  }
}

/** Reads a whole output that came in pieces, cut anywhere: the columns of a row in their order, and each value once. */
export class Reader {
  readonly #pieces: ReadonlyArray<Uint8Array>
  /** Where the next value is: in which piece, and where in it. */
  #piece: number
  #at: number
  #bytes: Buffer
  /** Where the last value is, which may lie in several pieces. */
  #value: Buffer
  #start = 0

  constructor(pieces: ReadonlyArray<Uint8Array>, piece = 0, at = header.length) {
    this.#pieces = pieces
    this.#piece = piece
    this.#at = at
    this.#bytes = this.#value = bufferOf(pieces[piece])
  }

  /** The same output from here on. */
  fork(): Reader {
    return new Reader(this.#pieces, this.#piece, this.#at)
  }

  /** Goes behind so many bytes. */
  #skip(length: number): void {
    this.#at += length
    while (this.#at > this.#bytes.length) {
      this.#at -= this.#bytes.length
      this.#bytes = bufferOf(this.#pieces[++this.#piece])
    }
  }

  #take(length: number): void {
    if (this.#at + length <= this.#bytes.length) {
      this.#value = this.#bytes
      this.#start = this.#at
      this.#at += length
      return
    }
    const value = Buffer.allocUnsafeSlow(length)
    let copied = 0
    while (copied < length) {
      if (this.#at === this.#bytes.length) {
        this.#bytes = bufferOf(this.#pieces[++this.#piece])
        this.#at = 0
      }
      const part = this.#bytes.copy(value, copied, this.#at, this.#at + length - copied)
      copied += part
      this.#at += part
    }
    this.#value = value
    this.#start = 0
  }

  #int4(): number {
    this.#take(4)
    return this.#value.readInt32BE(this.#start)
  }

  /** Begins the next row; false at the end. */
  row(): boolean {
    this.#take(2)
    return this.#value.readInt16BE(this.#start) !== -1
  }

  /** The length of the next value, and -1 for NULL. */
  #next(): number {
    const length = this.#int4()
    if (length > 0) this.#take(length)
    return length
  }

  int8(): bigint | null {
    return this.#next() === -1 ? null : this.#value.readBigInt64BE(this.#start)
  }

  /** A value that is not negative and at most 2^53 - 1. */
  int8Number(): number | null {
    return this.#next() === -1
      ? null
      : this.#value.readUInt32BE(this.#start) * 0x1_0000_0000 + this.#value.readUInt32BE(this.#start + 4)
  }

  int4(): number | null {
    return this.#next() === -1 ? null : this.#value.readInt32BE(this.#start)
  }

  bool(): boolean | null {
    return this.#next() === -1 ? null : this.#value[this.#start] === 1
  }

  /** A view, not a copy. */
  bytea(): Uint8Array | null {
    const length = this.#next()
    return length === -1 ? null : this.#value.subarray(this.#start, this.#start + length)
  }

  text(encoding: "latin1" | "base64url"): string | null {
    const length = this.#next()
    return length === -1 ? null : this.#value.toString(encoding, this.#start, this.#start + length)
  }

  /** Begins an array of one dimension; its elements are read like columns. How many there are; none for NULL. */
  array(): number {
    if (this.#int4() === -1) return 0
    const dimensions = this.#int4()
    this.#skip(8)
    if (dimensions === 0) return 0
    const length = this.#int4()
    this.#skip(4)
    return length
  }

  /** Goes behind a value without reading it. */
  pass(): void {
    const length = this.#int4()
    if (length > 0) this.#skip(length)
  }
}

const bufferOf = (bytes: Uint8Array | undefined): Buffer =>
  bytes === undefined ? Buffer.alloc(0) : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
