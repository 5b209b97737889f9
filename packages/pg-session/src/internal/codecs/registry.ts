/**
 * A driver registry that knows what it holds. The driver's own can be written to but not asked, and its arrays have one
 * dimension. Here every element type has its array type beside it, and records, arrays and composites find the codecs of
 * their parts in the same place.
 */
import { PgTypes } from "../driver.ts"
import { arrayCodec, type Elements } from "./array.ts"
import { builtIn } from "./leaf/builtIn.ts"
import { rawCodec } from "./raw.ts"
import type { Attribute } from "./record.ts"

/** Who put a codec there: this package, the user through `register`, or what the catalogue of the server said. */
export type Origin = "fixed" | "user" | "catalogue"

interface Known {
  readonly origin: Origin
  readonly codec: PgTypes.Codec<unknown>
  readonly arrayForm: boolean
}

/** A type to install. Without `arrayOid` it has no array type, or one that is installed by itself. */
export interface Definition {
  readonly oid: number
  readonly arrayOid?: number | undefined
  readonly codec: PgTypes.Codec<unknown>
  readonly arrayForm?: boolean | undefined
}

export class Types implements Elements {
  readonly registry = PgTypes.makeRegistry()
  /**
   * The attributes of composite types. Codecs look here for each value: a prepared statement keeps the codecs that it
   * began with, and would miss what `refresh` found.
   */
  readonly attributes = new Map<number, ReadonlyArray<Attribute>>()
  /** The same codecs with the driver's own arrays, which are the faster ones where there is one dimension. */
  private readonly flat = PgTypes.makeRegistry()
  private readonly put = this.registry.register
  private readonly known = new Map<number, Known>()
  private readonly names = new Map<string, number>()

  constructor() {
    for (const [name, oid] of Object.entries(PgTypes.OID)) {
      const arrayOid = PgTypes.arrayOidFor(oid)
      if (arrayOid === undefined) continue
      this.name(name, oid)
      this.name(`${name}[]`, arrayOid)
      const arrayForm = oid === PgTypes.OID.json || oid === PgTypes.OID.jsonb
      this.known.set(oid, { origin: "fixed", codec: builtIn(oid), arrayForm })
      this.putArray("fixed", arrayOid, oid)
    }
    // Trap: a codec that went past this object would be unknown to records, and `refresh` would replace it by `PgRaw`.
    Object.assign(this.registry, {
      register: (oid: number, codec: PgTypes.Codec<unknown>, options?: PgTypes.RegisterOptions) =>
        this.install("user", {
          oid,
          arrayOid: options?.arrayOid,
          codec,
          // As in the driver, the codec of a type that is new here may get an array for an element.
          arrayForm: this.known.get(oid)?.arrayForm ?? true
        })
    })
    byRegistry.set(this.registry, this)
  }

  has(oid: number): boolean {
    return this.known.has(oid)
  }

  /** Whether the catalogue has no say in how this type is read. */
  isSettled(oid: number): boolean {
    const origin = this.known.get(oid)?.origin
    return origin === "fixed" || origin === "user"
  }

  /** Whether a value of the type is a JavaScript array. */
  arrayForm(oid: number): boolean {
    return this.known.get(oid)?.arrayForm ?? false
  }

  install(origin: Origin, { arrayForm = false, arrayOid, codec, oid }: Definition): void {
    const options = { arrayOid }
    this.put(oid, codec, options)
    this.flat.register(oid, codec, options)
    this.known.set(oid, { origin, codec, arrayForm })
    if (arrayOid !== undefined) this.putArray(origin, arrayOid, oid)
  }

  /** Has the driver read a type that nobody knows as `PgRaw`, and by its codec as soon as there is one. */
  readUnknown(oid: number): void {
    if (!this.known.has(oid)) this.put(oid, this.codecOf(oid))
  }

  /** The array type of elements that have been installed without it. */
  installArray(origin: Origin, arrayOid: number, elementOid: number): void {
    this.flat.register(elementOid, this.codecOf(elementOid), { arrayOid })
    this.putArray(origin, arrayOid, elementOid)
  }

  private putArray(origin: Origin, arrayOid: number, elementOid: number): void {
    const codec = arrayCodec(this, { oid: arrayOid, elementOid, registry: this.flat })
    this.put(arrayOid, codec)
    this.known.set(arrayOid, { origin, codec, arrayForm: true })
  }

  name(name: string, oid: number): void {
    this.names.set(name, oid)
  }

  named(name: string): number | undefined {
    return this.names.get(name)
  }

  /** The codec that the type has at the time of use. Without one it is taken as `PgRaw`. */
  codecOf(oid: number): PgTypes.Codec<unknown> {
    const current = () => this.known.get(oid)?.codec ?? rawCodec(oid)
    return { encode: (value) => current().encode(value), decode: (bytes) => current().decode(bytes) }
  }
}

const byRegistry = new WeakMap<PgTypes.Registry, Types>()

/** What is behind a registry that this package made. */
export const typesOf = (registry: PgTypes.Registry): Types | undefined => byRegistry.get(registry)
