/**
 * Memory for the bodies of an import, used again and again: new memory for each would make the garbage collector come by once
 * for every 64 MiB of a log, and that took a third of an import's time.
 */
import { native } from "./native.ts"

const blockSize = 65_536

const allocate = (size: number): Uint8Array => {
  const bytes = new Uint8Array(size)
  return native(bytes) ?? bytes
}

export class Room {
  /** Where the last body has its place, and where that begins. */
  block: Uint8Array = new Uint8Array(0)
  at = 0
  #end = 0
  #free: Array<Uint8Array> = []
  #present: Array<Uint8Array> = []
  #previous: Array<Uint8Array> = []

  /** Makes a place of so many bytes. */
  reserve(size: number): void {
    if (this.#end + size > this.block.length) {
      if (size > blockSize) {
        this.block = allocate(size)
      } else {
        this.block = this.#free.pop() ?? allocate(blockSize)
        this.#present.push(this.block)
      }
      this.#end = 0
    }
    this.at = this.#end
    this.#end += size
  }

  /** From now on places may be given away again that were made before the last call of this. */
  turn(): void {
    this.#free.push(...this.#previous)
    this.#previous = this.#present
    this.#present = []
    this.block = new Uint8Array(0)
    this.#end = 0
  }
}
