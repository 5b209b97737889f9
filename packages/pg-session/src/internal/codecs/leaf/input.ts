/**
 * What an encoder is given comes from a caller whose types nobody has checked: each part is checked here before anything
 * is sent. Texts say what was expected and never quote the value.
 */
import { Predicate } from "effect"
import { refuse } from "../bytes.ts"

export const int64Min = -(2n ** 63n)
export const int64Max = 2n ** 63n - 1n
export const uint32Max = 0xffff_ffff
export const uint64Max = 2n ** 64n - 1n

export const text = (value: unknown, name: string): string =>
  typeof value === "string" ? value : refuse(`${name}: a string expected`)

export const boolean = (value: unknown, name: string): boolean =>
  typeof value === "boolean" ? value : refuse(`${name}: a boolean expected`)

/** NaN and infinities are numbers here. */
export const float = (value: unknown, name: string): number =>
  typeof value === "number" ? value : refuse(`${name}: a number expected`)

export const integer = (value: unknown, name: string, least: number, most: number): number =>
  typeof value === "number" && Number.isInteger(value) && value >= least && value <= most
    ? value
    : refuse(`${name}: an integer from ${least} to ${most} expected`)

export const bigint = (value: unknown, name: string, least: bigint, most: bigint): bigint =>
  typeof value === "bigint" && value >= least && value <= most
    ? value
    : refuse(`${name}: a bigint from ${least} to ${most} expected`)

export const list = (value: unknown, name: string): ReadonlyArray<unknown> =>
  Array.isArray(value) ? value : refuse(`${name}: an array expected`)

export const field = (value: unknown, key: string, name: string): unknown =>
  Predicate.hasProperty(value, key) ? value[key] : refuse(`${name}: an object with a field ${key} expected`)
